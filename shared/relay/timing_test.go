package relay

import (
	"context"
	"reflect"
	"testing"
	"time"

	"containertriggers/shared/domain/container"
)

func TestTiming_TakesADefaultForEachZeroField(t *testing.T) {
	t.Parallel()
	defaults := reflect.ValueOf(Timing{}.withDefaults())
	for i := range defaults.NumField() {
		var changed Timing
		reflect.ValueOf(&changed).Elem().Field(i).SetInt(int64(time.Hour))
		name, got := defaults.Type().Field(i).Name, reflect.ValueOf(changed.withDefaults())
		for j := range got.NumField() {
			want := defaults.Field(j).Int()
			if j == i {
				want = int64(time.Hour)
			}
			if want == 0 || got.Field(j).Int() != want {
				t.Errorf("with %s set, %s is %d, want %d", name, got.Type().Field(j).Name, got.Field(j).Int(), want)
			}
		}
	}
}

func TestTiming_FitsIntoShortRuns(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, test := range []struct{ length, longest, every, ending, draining, last time.Duration }{
		{15 * time.Minute, 0, 2 * time.Second, 750 * time.Second, 850 * time.Second, 890 * time.Second},
		{15 * time.Minute, 5 * time.Minute, 2 * time.Second, 450 * time.Second, 550 * time.Second, 890 * time.Second},
		{15 * time.Minute, container.MaxRelayTimeout, 2 * time.Second, 150 * time.Second, 250 * time.Second, 890 * time.Second},
		{30 * time.Second, 0, 1500 * time.Millisecond, 20 * time.Second, 26666666667, 27 * time.Second},
		{30 * time.Second, time.Minute, 1500 * time.Millisecond, 0, 6666666667, 27 * time.Second},
	} {
		ctx, cancel := context.WithDeadline(t.Context(), now.Add(test.length))
		got := Timing{}.withDefaults().schedule(ctx, now, test.longest)
		cancel()
		want := schedule{test.every, now.Add(test.ending), now.Add(test.draining), now.Add(test.last)}
		if got != want {
			t.Errorf("a run of %s with calls of %s: got %+v, want %+v", test.length, test.longest, got, want)
		}
		if test.length > time.Minute && got.last.Sub(got.draining) < test.longest {
			t.Errorf("calls of %s have %s", test.longest, got.last.Sub(got.draining))
		}
	}
}
