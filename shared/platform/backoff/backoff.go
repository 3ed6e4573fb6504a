// Package backoff returns and waits for the pauses between retries.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// The limits of a delay. With Retry-After, a container may request more than the longest
// delay, but no more than an hour.
const (
	first             = time.Second
	longest           = 15 * time.Minute
	longestRetryAfter = time.Hour
)

// Delay returns how long to wait after the nth failed attempt. It is 2^(n-1) seconds (1, 2,
// 4, 8, …), at most 15 minutes, less a random part of up to half of it, so that events that
// failed together are not retried together. If the container requested a longer retryAfter,
// Delay returns that, up to an hour.
func Delay(attempt int, retryAfter time.Duration) time.Duration {
	full := longest
	if shift := max(attempt, 1) - 1; shift < 10 {
		full = min(first<<shift, longest)
	}
	return max(full-rand.N(full/2), min(retryAfter, longestRetryAfter))
}

// The limits of the pause after a conflict.
const (
	firstConflict   = 10 * time.Millisecond
	longestConflict = 640 * time.Millisecond
)

// AfterConflict waits before the retry of a write that conflicted with another one. It
// waits for a random time, so that the two writers do not meet again: up to 10 ms if no
// earlier attempt failed, then up to 20, 40, 80 … 640 ms. It returns the context's error
// if ctx ends first.
func AfterConflict(ctx context.Context, earlier int) error {
	return Sleep(ctx, rand.N(min(firstConflict<<min(earlier, 6), longestConflict)))
}

// Sleep waits for d. It returns the context's error if ctx ends first, or has
// ended.
func Sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
