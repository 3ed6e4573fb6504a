package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"containertriggers/shared/mapping"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

// The kinds of finds: the names of their metrics.
const (
	// failed are triggers in error: what the user repaired outside may have healed
	// them.
	failed = "Failed"
	// stuck are triggers whose change was given up, or waits for AWS.
	stuck = "Stuck"
	// drifted are triggers that are ready, but whose source was changed or deleted
	// by somebody else.
	drifted            = "Drifted"
	orphanedTriggers   = "OrphanedTriggers" // without their container
	orphanedSchedules  = "OrphanedSchedules"
	orphanedMappings   = "OrphanedMappings"
	orphanedClaims     = "OrphanedClaims"
	unfinishedDeletion = "UnfinishedContainerDeletions"
)

var kinds = []string{failed, stuck, drifted, orphanedTriggers, orphanedSchedules, orphanedMappings, orphanedClaims, unfinishedDeletion}

const (
	// busyFor is for how long a changed trigger is left to reconcile, which the
	// stream tells of the change.
	busyFor = 30 * time.Second
	// patience is how long a trigger in error waits for its next try, by how long it
	// has failed: a tenth of that time, ten minutes at most.
	patience        = 10
	longestPatience = 10 * time.Minute
	// atOnce bounds how many finds are dealt with at the same time.
	atOnce = 8
	// pageSize is how many rows are compared with the world at a time.
	pageSize = 100
)

// sweep is one run.
type sweep struct {
	function

	mu    sync.Mutex
	found map[string]int // by kind

	mapped    map[string][]mapping.Mapped // by the queue's ARN; nil before it is read
	mappedErr error                       // why it cannot be read
}

// walk is a way through a table, or through what there is, in pages. A run goes
// some pages on; the next one takes it up from there.
type walk struct {
	name  string
	pages int
	// page deals with the page after that key, and gives the key of the next one,
	// "" after the last.
	page func(ctx context.Context, after string) (next string, err error)
}

// walks bound what one run costs: a thousand rows, or as many schedules, are
// compared with the world, each with one to three calls. Rows that reconcile is
// not done with are few, and looked for in the whole table.
func (s *sweep) walks() []walk {
	return []walk{
		{"unfinished triggers", 100, s.unfinished},
		{"unfinished containers", 100, s.unfinishedContainers},
		{"drifted triggers", 10, s.drift},
		{"orphaned schedules", 10, s.schedules},
		{"orphaned mappings", 10, s.mappings},
		{"orphaned claims", 10, s.holders},
	}
}

// each deals with finds, some at the same time, and with all of them even though
// one fails.
func each[F any](finds []F, deal func(F) error) error {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, find := range finds {
		group.Go(func() error { return deal(find) })
	}
	return group.Wait()
}

func (s *sweep) unfinished(ctx context.Context, after string) (string, error) {
	found, next, err := s.triggers.Unfinished(ctx, after)
	if err != nil {
		return "", err
	}
	return next, each(found, func(t table.Unfinished) error {
		if !due(t, s.now()) {
			return nil
		}
		kind := stuck
		if t.Status == trigger.Error {
			kind = failed
		}
		s.note(ctx, kind, t.ID)
		return s.triggers.Reopen(ctx, t.ID, s.now())
	})
}

// due says whether reconcile is to look again at a trigger. It moves to error, and
// stays in it, at UpdatedAt.
func due(t table.Unfinished, now time.Time) bool {
	if t.Status != trigger.Error {
		return min(now.Sub(t.UpdatedAt), now.Sub(t.ReopenedAt)) >= busyFor
	}
	return now.Sub(t.ReopenedAt) >= min(now.Sub(t.UpdatedAt)/patience, longestPatience)
}

func (s *sweep) unfinishedContainers(ctx context.Context, after string) (string, error) {
	found, next, err := s.containers.Deleting(ctx, after)
	if err != nil {
		return "", err
	}
	return next, each(found, func(id string) error {
		s.note(ctx, unfinishedDeletion, id)
		return s.containers.Reopen(ctx, id, s.now())
	})
}

// drift compares triggers with their containers and sources.
func (s *sweep) drift(ctx context.Context, after string) (string, error) {
	triggers, next, err := s.triggers.Page(ctx, after, pageSize)
	if err != nil {
		return "", err
	}
	var containers []string
	for _, t := range triggers {
		containers = append(containers, t.ContainerID)
	}
	present, err := s.containers.Present(ctx, unique(containers))
	if err != nil {
		return "", err
	}
	return next, each(triggers, func(t trigger.Trigger) error {
		if !present[t.ContainerID] {
			s.note(ctx, orphanedTriggers, t.ID)
			if _, err := s.triggers.MarkDeleting(ctx, t.ID); !errors.Is(err, table.ErrNotFound) {
				return err
			}
			return nil // it is gone by now
		}
		if t.Status != trigger.Ready || !t.Settled() {
			return nil // reconcile, or the walk through what is unfinished, is at it
		}
		has, err := s.hasDrifted(ctx, t)
		if err != nil || !has {
			return err
		}
		s.note(ctx, drifted, t.ID)
		return s.triggers.Reopen(ctx, t.ID, s.now())
	})
}

func (s *sweep) hasDrifted(ctx context.Context, t trigger.Trigger) (bool, error) {
	switch t.Source() {
	case trigger.SourceCron:
		return s.sources.Schedules.Drifted(ctx, t)
	case trigger.SourceSQS:
		mapped, err := s.mappedQueues(ctx)
		if err != nil {
			return false, err
		}
		return s.sources.Queues.Drifted(ctx, t, mapped)
	default:
		return s.sources.Relayed.Drifted(t), nil
	}
}

// mappedQueues lists the mappings, once in a run.
func (s *sweep) mappedQueues(ctx context.Context) (map[string][]mapping.Mapped, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mapped != nil || s.mappedErr != nil {
		return s.mapped, s.mappedErr
	}
	all, err := s.sources.Queues.Mappings.All(ctx)
	if err != nil {
		s.mappedErr = err // asking again for each trigger would take the run's time, and Lambda's rate
		return nil, err
	}
	s.mapped = map[string][]mapping.Mapped{}
	for _, m := range all {
		s.mapped[m.QueueARN] = append(s.mapped[m.QueueARN], m)
	}
	return s.mapped, nil
}

// schedules removes those without a trigger. A trigger's row is there before its
// schedules, goes after them, and its ID is not used again: what has no row now
// never will.
func (s *sweep) schedules(ctx context.Context, after string) (string, error) {
	ids, next, err := s.sources.Schedules.IDs(ctx, after)
	if err != nil {
		return "", err
	}
	return next, s.orphans(ctx, orphanedSchedules, ids, s.sources.Schedules.Remove)
}

// holders removes the claims of triggers that are gone, and what they have mapped.
func (s *sweep) holders(ctx context.Context, after string) (string, error) {
	ids, next, err := s.claims.Holders(ctx, after, pageSize)
	if err != nil {
		return "", err
	}
	return next, s.orphans(ctx, orphanedClaims, ids, s.sources.Queues.Remove)
}

// orphans removes what is left of those of the triggers that are gone.
func (s *sweep) orphans(ctx context.Context, kind string, ids []string, remove func(context.Context, trigger.Trigger) error) error {
	ids = unique(ids)
	present, err := s.triggers.Present(ctx, ids)
	if err != nil {
		return err
	}
	return each(ids, func(id string) error {
		if present[id] {
			return nil
		}
		s.note(ctx, kind, id)
		return remove(ctx, trigger.Trigger{ID: id})
	})
}

// mappings removes those of queues that nobody has claimed. A claim comes before
// its mapping and goes after it. Just this mapping: when the queue is claimed
// meanwhile, it gets another one.
func (s *sweep) mappings(ctx context.Context, after string) (string, error) {
	mapped, err := s.mappedQueues(ctx)
	if err != nil {
		return "", err
	}
	var queues []string
	for arn := range mapped {
		if arn > after {
			queues = append(queues, arn)
		}
	}
	slices.Sort(queues)
	next := ""
	if len(queues) > pageSize {
		queues = queues[:pageSize]
		next = queues[pageSize-1]
	}
	return next, each(queues, func(arn string) error {
		if _, err := s.claims.Queue(ctx, arn); !errors.Is(err, table.ErrNotFound) {
			return err
		}
		s.note(ctx, orphanedMappings, arn)
		var failures []error
		for _, m := range mapped[arn] {
			failures = append(failures, s.sources.Queues.Mappings.Delete(ctx, m))
		}
		return errors.Join(failures...)
	})
}

// unique sorts IDs and leaves out doubles.
func unique(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}
