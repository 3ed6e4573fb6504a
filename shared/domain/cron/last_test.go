package cron_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"containertriggers/shared/domain/cron"
)

func TestLast_IsTheLastOfAllNextOnes(t *testing.T) {
	t.Parallel()
	zones := []*time.Location{time.UTC}
	for _, name := range []string{"Europe/Paris", "America/St_Johns", "Australia/Lord_Howe"} {
		zone, err := cron.LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, zone)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"* * * * *", "*/7 3 * * *", "30 2 * * *", "0 0 1 * *", "0 0 29 2 *", "15 1-3 * 3,10 0"}).Draw(t, "schedule")
		schedule, err := cron.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		after := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.Int64Range(0, 400*24*3600).Draw(t, "after")) * time.Second)
		until := after.Add(time.Duration(rapid.Int64Range(0, 3*24*3600).Draw(t, "length")) * time.Second)
		want := time.Time{}
		for at := schedule.Next(after, zone); !at.IsZero() && !at.After(until); at = schedule.Next(at, zone) {
			want = at
		}
		if got := schedule.Last(after, until, zone); !got.Equal(want) {
			t.Errorf("%s from %s to %s in %s: got %s, want %s", text, after, until, zone, got, want)
		}
	})
}
