package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/platform/metric"
	"containertriggers/shared/relay/watchdog"
)

const (
	// downAfter is how long a shard may be without a lease. A run that this function starts
	// takes its lease within seconds.
	downAfter = time.Minute
	// atOnce is the largest number of shards that are looked at at the same time.
	atOnce = 16
)

// function is the relay's watchdog. It runs every minute, and does nothing else, so that
// nothing else delays a successor.
type function struct {
	triggers store.Triggers
	starter  watchdog.Starter
	shards   int
	// stack is the dimension of the metric.
	stack string
}

// handle starts a run of the relay for each shard that has triggers and wants a run. It
// counts the shards that are down. It returns the errors of all shards, and looks at every
// shard even if another one fails.
func (f function) handle(ctx context.Context) error {
	var (
		group    errgroup.Group
		mu       sync.Mutex
		down     int
		failures []error
	)
	group.SetLimit(atOnce)
	for i := range f.shards {
		group.Go(func() error {
			isDown, err := f.watch(ctx, strconv.Itoa(i))
			mu.Lock()
			defer mu.Unlock()
			if isDown {
				down++
			}
			failures = append(failures, err)
			return nil
		})
	}
	_ = group.Wait() // failures has the errors
	// An alarm ends only with a value below its threshold, so 0 is counted, too.
	metric.Count(ctx, "watched", f.stack, map[string]int{"RelaysDown": down})
	return errors.Join(failures...)
}

// watch starts a run for a shard if the shard has triggers and wants a run. It reports
// whether the shard is down: it has triggers, and its last lease ended over a minute ago. A
// shard without a lease is down as well, because a run deletes its lease only when it ends.
func (f function) watch(ctx context.Context, of string) (down bool, err error) {
	some, err := f.triggers.OnRelay(ctx, of, 1)
	if err != nil || len(some) == 0 {
		return false, err
	}
	lease, err := f.starter.Leases.Get(ctx, of)
	if err != nil {
		return false, err
	}
	if down = lease.Until.Before(f.starter.Now().Add(-downAfter)); down {
		slog.WarnContext(ctx, "a shard of the relay has triggers and no run", "shard", of, "lease_ended", lease.Until)
	}
	if err := f.starter.Start(ctx, of); err != nil {
		return down, fmt.Errorf("watching shard %s: %w", of, err)
	}
	return down, nil
}
