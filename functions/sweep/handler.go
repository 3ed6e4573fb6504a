package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
	"containertriggers/shared/watchdog"
)

const (
	// busyFor is for how long a changed trigger is left to reconcile, which the
	// stream tells of the change.
	busyFor = 30 * time.Second
	// atOnce bounds how many rows are written at the same time.
	atOnce = 8
	// pages bounds what one run reads: of a larger table the next run reads on.
	pages = 100
)

// bookmark is the name under which a run notes where the next one reads on.
const bookmark = "sweep"

// function has reconcile look again at the triggers that it is not done with:
// those in error, which what the user repaired outside may have healed, and
// those whose change was given up or is waiting for AWS.
//
// It also is the relay's watchdog: it starts a relay for each shard that has
// triggers and wants one.
type function struct {
	triggers table.Triggers
	claims   table.Claims
	relays   watchdog.Starter
	shards   int
	now      func() time.Time
}

func (f function) handle(ctx context.Context) error {
	return errors.Join(f.watch(ctx), f.sweep(ctx))
}

// watch starts the relays that are wanted.
func (f function) watch(ctx context.Context) error {
	var failures []error
	for i := range f.shards {
		of := strconv.Itoa(i)
		some, err := f.triggers.OnRelay(ctx, of, 1)
		if err == nil && len(some) > 0 {
			err = f.relays.Start(ctx, of)
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

func (f function) sweep(ctx context.Context) error {
	after, err := f.claims.Bookmark(ctx, bookmark)
	if err != nil {
		return err
	}
	opened := 0
	for range pages {
		var found []trigger.Trigger
		if found, after, err = f.triggers.Open(ctx, after); err != nil {
			return err
		}
		n, err := f.reopen(ctx, found)
		if err != nil {
			return err
		}
		opened += n
		if after == "" {
			break
		}
	}
	if err := f.claims.SetBookmark(ctx, bookmark, after); err != nil {
		return err
	}
	slog.InfoContext(ctx, "swept", "opened", opened, "more", after != "")
	return nil
}

func (f function) reopen(ctx context.Context, found []trigger.Trigger) (opened int, err error) {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, t := range found {
		if t.Status != trigger.Error && f.now().Sub(t.UpdatedAt) < busyFor {
			continue
		}
		opened++
		group.Go(func() error {
			if err := f.triggers.Reopen(groupCtx, t.ID, f.now()); err != nil {
				return fmt.Errorf("opening trigger %s again: %w", t.ID, err)
			}
			return nil
		})
	}
	return opened, group.Wait()
}
