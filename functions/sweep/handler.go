package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/platform/metric"
	"containertriggers/shared/source"
)

// function finds drift and orphans that no event reports, such as a schedule that an
// operator deleted, a change that reconcile gave up, or a queue that its owner has
// repaired. It requeues triggers for reconcile and removes orphans.
type function struct {
	triggers   store.Triggers
	containers store.Containers
	namespaces store.Namespaces
	claims     store.Claims
	bookmarks  store.Bookmarks
	sources    source.Sources
	// stack is the dimension of the metrics.
	stack string
	// pages is the number of pages that a scan for drift or orphans may handle in a run.
	pages    int
	scanTime time.Duration
	now      func() time.Time
}

// newFunction returns a sweep that compares at most that many rows in a run.
func newFunction(sources source.Sources, containers store.Containers, namespaces store.Namespaces, stack string, rows int, now func() time.Time) function {
	claims := sources.Queues.Claims
	return function{
		triggers: sources.Queues.Triggers, containers: containers, namespaces: namespaces, claims: claims,
		bookmarks: store.Bookmarks(claims), // one table has both
		sources:   sources, stack: stack, pages: max(rows/pageSize, 1), scanTime: scanTime, now: now,
	}
}

// scanTime is how long the scans of a run may take. The rest of its minute is for recording
// the progress.
const scanTime = 45 * time.Second

// bookmark is the name of the row with the progress of the scans.
const bookmark = "sweep"

// handle runs all scans. It returns their errors, and counts the finds as metrics. Each scan
// continues where its last run stopped. A scan may use an equal share of the time that is
// left, so that none keeps the others from running.
func (f function) handle(ctx context.Context) error {
	// A metric is paid for in each month that has a value of it. StuckAlarm also tells that sweep
	// does not run, so that one is counted if it is 0.
	s := &sweep{function: f, found: map[string]int{stuck: 0}}
	began, err := f.bookmarks.Get(ctx, bookmark)
	if err != nil {
		return err
	}
	s.progress = maps.Clone(began)
	if s.progress == nil {
		s.progress = map[string]string{}
	}
	stop := s.listAll(ctx)
	failures := s.runAll(ctx, s.scans())
	stop()
	if !maps.Equal(s.progress, began) {
		failures = append(failures, f.bookmarks.Set(ctx, bookmark, s.progress))
	}
	metric.Count(ctx, "swept", f.stack, s.found)
	return errors.Join(failures...)
}

// runAll continues all scans and returns their errors. A scan does not depend on the others.
func (s *sweep) runAll(ctx context.Context, scans []scan) (failures []error) {
	end := time.Now().Add(s.scanTime)
	for i, each := range scans {
		share, cancel := context.WithTimeout(ctx, time.Until(end)/time.Duration(len(scans)-i))
		if err := s.run(share, each); err != nil {
			failures = append(failures, fmt.Errorf("scanning for %s: %w", each.name, err))
		}
		cancel()
	}
	return failures
}

// run continues a scan. It stops at the end, after the pages of one run, or when ctx ends.
func (s *sweep) run(ctx context.Context, each scan) error {
	var failure error
	for range each.pages {
		next, err := each.page(ctx, s.progress[each.name])
		if ctx.Err() != nil {
			slog.WarnContext(ctx, "a scan used up its time; the next run repeats its last page", "scan", each.name, "after", s.progress[each.name])
			return failure
		}
		// If some finds of the page fail, the others are handled. If the page cannot be read,
		// for example because its token has expired, next is "" and the scan starts anew.
		failure = errors.Join(failure, err)
		s.setProgress(each.name, next)
		if next == "" {
			break
		}
	}
	return failure
}

// setProgress records the key after which a scan continues. If it is "", the scan starts anew.
func (s *sweep) setProgress(scan, after string) {
	if after == "" {
		delete(s.progress, scan)
	} else {
		s.progress[scan] = after
	}
}

// record counts and logs a find.
func (s *sweep) record(ctx context.Context, kind, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found[kind]++
	slog.InfoContext(ctx, "found", "kind", kind, "id", id)
}
