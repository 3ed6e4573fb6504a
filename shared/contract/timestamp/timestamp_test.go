package timestamp_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"containertriggers/shared/contract/timestamp"
)

func anyTime(t *rapid.T, name string) time.Time {
	// The layout has four digits for the years 1 to 9999.
	seconds := rapid.Int64Range(-62135596800, 253402300799).Draw(t, name+" seconds")
	zone := time.FixedZone("zone", rapid.IntRange(-14*3600, 14*3600).Draw(t, name+" zone"))
	return time.Unix(seconds, rapid.Int64Range(0, 999_999_999).Draw(t, name+" nanoseconds")).In(zone)
}

func TestTime_ReadsWhatItWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := anyTime(t, "at")
		text, err := timestamp.Time(at).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var read timestamp.Time
		if err := read.UnmarshalText(text); err != nil {
			t.Fatal(err)
		}
		if !time.Time(read).Equal(timestamp.Truncate(at)) {
			t.Fatalf("%s reads as %s", text, read)
		}
	})
}

func TestTime_SortsAsText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := timestamp.Truncate(anyTime(t, "a")), timestamp.Truncate(anyTime(t, "b"))
		if text := strings.Compare(timestamp.Time(a).String(), timestamp.Time(b).String()); text != a.Compare(b) {
			t.Fatalf("%s and %s compare as times %d, as texts %d", a, b, a.Compare(b), text)
		}
	})
}

func TestTime_HasSixDigitsAndUTC(t *testing.T) {
	t.Parallel()
	seoul := time.FixedZone("KST", 9*3600)
	for want, at := range map[string]time.Time{
		`"2026-11-23T10:00:00.000000Z"`: time.Date(2026, 11, 23, 19, 0, 0, 0, seoul),
		`"2026-11-23T10:00:00.120000Z"`: time.Date(2026, 11, 23, 10, 0, 0, 120_000_999, time.UTC),
		`"0001-01-01T00:00:00.000000Z"`: {},
	} {
		if got, err := json.Marshal(timestamp.Time(at)); err != nil || string(got) != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}

func TestTime_RefusesOtherForms(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "2026-11-23", "2026-11-23T10:00:00Z", "2026-11-23T10:00:00.000Z", "2026-11-23T10:00:00.000000000Z",
		"2026-11-23T10:00:00.000000+00:00", "2026-11-23 10:00:00.000000Z", "2026-13-23T10:00:00.000000Z", "2026-11-23T10:00:00.000000Z ",
	} {
		var read timestamp.Time
		if err := read.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q reads as %s", text, read)
		}
	}
}

func TestNext_IsAlwaysLater(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		last, now := timestamp.Truncate(anyTime(t, "last")), anyTime(t, "now")
		got := timestamp.Next(last, now)
		if !got.After(last) || got.Before(timestamp.Truncate(now)) {
			t.Fatalf("after %s at %s comes %s", last, now, got)
		}
		if earliest := last.Add(time.Microsecond); !got.Equal(earliest) && !got.Equal(timestamp.Truncate(now)) {
			t.Fatalf("after %s at %s comes %s", last, now, got)
		}
	})
}
