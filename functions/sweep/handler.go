package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"containertriggers/shared/metric"
	"containertriggers/shared/provision"
	"containertriggers/shared/table"
)

// function finds what reconcile cannot: nobody tells it that a schedule was deleted
// by hand, that its own change was given up, or that the user has repaired a
// queue. What it finds goes back to reconcile, but for orphans, which it removes.
//
// It also is the relay's watchdog: it starts a relay for each shard that has
// triggers and wants one.
type function struct {
	triggers   table.Triggers
	containers table.Containers
	claims     table.Claims
	sources    provision.Sources
	// stack is the dimension of the metrics.
	stack string
	now   func() time.Time
}

func newFunction(sources provision.Sources, containers table.Containers, stack string, now func() time.Time) function {
	return function{triggers: sources.Queues.Triggers, containers: containers, claims: sources.Queues.Claims, sources: sources, stack: stack, now: now}
}

func (f function) handle(ctx context.Context) error {
	s := &sweep{function: f, found: map[string]int{}}
	for _, kind := range kinds {
		s.found[kind] = 0 // so that an alarm sees it end
	}
	failures := []error{f.watch(ctx)}
	for _, w := range s.walks() {
		if err := s.walk(ctx, w); err != nil {
			// The others are none the worse for it.
			failures = append(failures, fmt.Errorf("looking for %s: %w", w.name, err))
		}
	}
	metric.Count(ctx, "swept", f.stack, s.found)
	return errors.Join(failures...)
}

// watch starts the relays that are wanted.
func (f function) watch(ctx context.Context) error {
	var failures []error
	for i := range f.sources.Relayed.Shards {
		of := strconv.Itoa(i)
		some, err := f.triggers.OnRelay(ctx, of, 1)
		if err == nil && len(some) > 0 {
			err = f.sources.Relayed.Starter.Start(ctx, of)
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// walk takes up a walk where the last run left it, and goes on for as many pages
// as one run may.
func (s *sweep) walk(ctx context.Context, w walk) error {
	bookmark := "sweep/" + w.name
	began, err := s.claims.Bookmark(ctx, bookmark)
	if err != nil {
		return err
	}
	after := began
	var failure error
	for range w.pages {
		next, err := w.page(ctx, after)
		if err != nil {
			// The page's other finds were dealt with. Where it cannot even be read, as
			// with a token that has expired, the next run begins anew.
			failure = errors.Join(failure, err)
		}
		if after = next; after == "" {
			break
		}
	}
	if after != began {
		failure = errors.Join(failure, s.claims.SetBookmark(ctx, bookmark, after))
	}
	return failure
}

// note counts a find and tells of it.
func (s *sweep) note(ctx context.Context, kind, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found[kind]++
	slog.InfoContext(ctx, "found", "kind", kind, "id", id)
}
