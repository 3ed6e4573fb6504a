package backoff_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"containertriggers/shared/platform/backoff"
)

func TestDelay_GrowsWithinItsBounds(t *testing.T) {
	t.Parallel()
	for attempt, full := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 5: 16 * time.Second, 10: 512 * time.Second,
		11: 15 * time.Minute, 12: 15 * time.Minute, 1000: 15 * time.Minute,
	} {
		seen := map[time.Duration]bool{}
		for range 100 {
			got := backoff.Delay(attempt, 0)
			if got > full || got < full/2 {
				t.Errorf("attempt %d: %s", attempt, got)
			}
			seen[got] = true
		}
		if len(seen) < 50 {
			t.Errorf("attempt %d: only %d of 100 delays differ", attempt, len(seen))
		}
	}
}

func TestDelay_RespectsRetryAfterUpToAnHour(t *testing.T) {
	t.Parallel()
	for retryAfter, want := range map[time.Duration]time.Duration{
		-time.Second: 0, time.Millisecond: 0, 10 * time.Minute: 10 * time.Minute, time.Hour: time.Hour, 24 * time.Hour: time.Hour,
	} {
		if got := backoff.Delay(1, retryAfter); want != 0 && got != want || want == 0 && (got > time.Second || got < time.Second/2) {
			t.Errorf("retry after %s: %s", retryAfter, got)
		}
	}
}

func TestSleep_EndsWithItsTimeOrTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("a cause that nobody waits for"))
		for _, test := range []struct {
			ctx  context.Context
			d    time.Duration
			took time.Duration
			err  error
		}{
			{t.Context(), time.Minute, time.Minute, nil},
			{t.Context(), 0, 0, nil},
			{ended, 0, 0, context.Canceled},
			{ended, time.Minute, 0, context.Canceled},
		} {
			began := time.Now()
			if err := backoff.Sleep(test.ctx, test.d); !errors.Is(err, test.err) || time.Since(began) != test.took {
				t.Errorf("%s: %v after %s", test.d, err, time.Since(began))
			}
		}
		soon, cancelSoon := context.WithTimeout(t.Context(), time.Second)
		defer cancelSoon()
		began := time.Now()
		if err := backoff.Sleep(soon, time.Hour); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

func TestAfterConflict_WaitsAtRandomWithinItsBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for earlier, most := range map[int]time.Duration{
			0: 10 * time.Millisecond, 1: 20 * time.Millisecond, 5: 320 * time.Millisecond, 6: 640 * time.Millisecond,
			7: 640 * time.Millisecond, 1000: 640 * time.Millisecond,
		} {
			var longest time.Duration
			for range 100 {
				began := time.Now()
				if err := backoff.AfterConflict(t.Context(), earlier); err != nil {
					t.Fatal(err)
				}
				longest = max(longest, time.Since(began))
			}
			if longest >= most || longest < most/2 {
				t.Errorf("after %d earlier attempts: the longest pause is %s", earlier, longest)
			}
		}
	})
}
