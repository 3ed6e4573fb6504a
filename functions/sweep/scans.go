package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

// The kinds of finds. Each is the name of a metric.
const (
	// failed are triggers in error. Their owner may have repaired the cause.
	failed = "Failed"
	// stuck are triggers that reconcile gave up or that wait for AWS.
	stuck = "Stuck"
	// drifted are ready triggers with a source that differs from the trigger.
	drifted            = "Drifted"
	orphanedTriggers   = "OrphanedTriggers" // without their container
	orphanedSchedules  = "OrphanedSchedules"
	orphanedMappings   = "OrphanedMappings"
	orphanedClaims     = "OrphanedClaims"
	orphanedContainers = "OrphanedContainers" // without their namespace
	unfinishedDeletion = "UnfinishedContainerDeletions"
	unfinishedCascade  = "UnfinishedNamespaceDeletions"
	// miscounted are counts that differ from their rows.
	miscounted = "Miscounted"
	// beyondReserve are the runs by which queues may exceed the dispatchers' reserve.
	beyondReserve = "QueueRunsBeyondReserve"
)

const (
	// gracePeriod is how long reconcile has for a change or a deletion before sweep requeues
	// the row.
	gracePeriod = 30 * time.Second
	// A trigger in error is retried after the time that it has been in error divided by
	// retryDivisor, but at the latest after longestRetryDelay.
	retryDivisor      = 10
	longestRetryDelay = 10 * time.Minute
	// atOnce is the largest number of finds that are handled at the same time.
	atOnce = 8
	// pageSize is the number of rows of one page. A page has fewer if they exceed 1 MB.
	pageSize = 500
	// listPages is the number of pages of 100 schedules that a run lists. If there are more
	// schedules, a run reads those of its triggers that are not listed one by one.
	listPages = 200
)

// sweep is one run.
type sweep struct {
	function

	// progress has the keys after which the scans continue, by the scan.
	progress map[string]string

	mu    sync.Mutex
	found map[string]int // by kind

	// began is the time at which the run began its lists.
	began  time.Time
	mapped *list[map[string][]eventsource.Mapping] // by the queue's ARN
	listed *list[listing]
}

// scan is a scan of a table or of AWS resources in pages. If a run does not reach the last
// page, the next run continues there.
type scan struct {
	name  string
	pages int
	// page handles the page after that key. It returns the key after which the next page
	// begins, or "" after the last page.
	page func(ctx context.Context, after string) (next string, err error)
}

// scans returns the scans of one run. Their pages limit the cost of a run, which compares that
// many pages of rows and as many of schedules with AWS. Unfinished rows are few, so their scans
// read the whole index. The scans that need a list come last, when most of it is there.
func (s *sweep) scans() []scan {
	return []scan{
		{"unfinished triggers", 100, s.unfinishedTriggers},
		{"unfinished containers", 100, s.unfinishedContainers},
		{"unfinished namespaces", 100, s.unfinishedNamespaces},
		{"unlisted triggers", 1, s.relist(s.triggers.Relist)},
		{"unlisted containers", 1, s.relist(s.containers.Relist)},
		{"unlisted namespaces", 1, s.relist(s.namespaces.Relist)},
		{"orphaned containers", s.pages, s.orphanedContainers},
		{"orphaned claims", s.pages, s.orphanedClaims},
		{"orphaned schedules", s.pages, s.orphanedSchedules},
		{"orphaned mappings", s.pages, s.orphanedMappings},
		{"drifted triggers", s.pages, s.driftedTriggers},
		// It is the last one, so that a page, which is one count, has all the time that is left.
		{"counts", 10, s.miscounts},
	}
}

// relist returns the pages of a scan for unfinished rows that are not in their index. Releases
// before the index wrote such rows. They may run until the last function of a deployment is
// replaced.
func (s *sweep) relist(page func(ctx context.Context, after string, most int32) (string, error)) func(context.Context, string) (string, error) {
	return func(ctx context.Context, after string) (string, error) { return page(ctx, after, pageSize) }
}

// forEach calls handle for all finds, some at the same time, even if one of them fails. It
// returns the first error.
func forEach[F any](finds []F, handle func(F) error) error {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, find := range finds {
		group.Go(func() error { return handle(find) })
	}
	return group.Wait()
}

// unfinishedTriggers requeues the triggers that are in error, or that reconcile has not
// finished in time. It removes from the index what an earlier release has finished.
func (s *sweep) unfinishedTriggers(ctx context.Context, after string) (string, error) {
	found, next, err := s.triggers.Unfinished(ctx, after)
	if err != nil {
		return "", err
	}
	return next, forEach(found, func(t store.Unfinished) error {
		if t.Finished() {
			return s.triggers.Finish(ctx, t.ID)
		}
		if !due(t, s.now()) {
			return nil
		}
		kind := stuck
		if t.Status == trigger.Error {
			kind = failed
		}
		s.record(ctx, kind, t.ID)
		return s.triggers.Requeue(ctx, t.ID, s.now())
	})
}

// due reports whether an unfinished trigger must be requeued now. UpdatedAt of a trigger in
// error is the time at which it entered that status.
func due(t store.Unfinished, now time.Time) bool {
	if t.Status != trigger.Error {
		return min(now.Sub(t.UpdatedAt), now.Sub(t.ReopenedAt)) >= gracePeriod
	}
	return now.Sub(t.ReopenedAt) >= min(now.Sub(t.UpdatedAt)/retryDivisor, longestRetryDelay)
}

// unfinishedContainers requeues the containers with an unfinished deletion.
func (s *sweep) unfinishedContainers(ctx context.Context, after string) (string, error) {
	found, next, err := s.containers.Deleting(ctx, after, s.now().Add(-gracePeriod))
	if err != nil {
		return "", err
	}
	return next, forEach(found, func(id string) error {
		s.record(ctx, unfinishedDeletion, id)
		return s.containers.Requeue(ctx, id, s.now())
	})
}

// unfinishedNamespaces requeues the namespaces with an unfinished deletion.
func (s *sweep) unfinishedNamespaces(ctx context.Context, after string) (string, error) {
	found, next, err := s.namespaces.Deleting(ctx, after, s.now().Add(-gracePeriod))
	if err != nil {
		return "", err
	}
	return next, forEach(found, func(id string) error {
		s.record(ctx, unfinishedCascade, id)
		return s.namespaces.Requeue(ctx, id, s.now())
	})
}

// orphanedContainers deletes the containers without their namespace. Such a container was
// created so shortly before the namespace's deletion that reconcile did not find it in the
// index, which lags.
func (s *sweep) orphanedContainers(ctx context.Context, after string) (string, error) {
	containers, next, err := s.containers.InNamespaces(ctx, after, pageSize)
	if err != nil {
		return "", err
	}
	var namespaces []string
	for _, c := range containers {
		namespaces = append(namespaces, c.NamespaceID)
	}
	present, err := s.namespaces.Present(ctx, unique(namespaces))
	if err != nil {
		return "", err
	}
	return next, forEach(containers, func(c container.Container) error {
		if present[c.NamespaceID] {
			return nil
		}
		s.record(ctx, orphanedContainers, c.ID)
		if _, err := s.containers.MarkDeleting(ctx, c.ID); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return nil // it does not exist any more
	})
}

// driftedTriggers requeues the triggers with a source that differs from the trigger. It
// deletes the triggers without their container.
func (s *sweep) driftedTriggers(ctx context.Context, after string) (string, error) {
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
	return next, forEach(triggers, func(t trigger.Trigger) error {
		if t.Status == trigger.Deleting {
			return nil // reconcile can delete it without its container
		}
		if !present[t.ContainerID] {
			s.record(ctx, orphanedTriggers, t.ID)
			if _, err := s.triggers.MarkDeleting(ctx, t.ID); !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return nil // another run has removed it
		}
		if t.Status != trigger.Ready || !t.Settled() {
			return nil // reconcile or the scan of unfinished triggers handles it
		}
		has, err := s.hasDrifted(ctx, t)
		if err != nil || !has {
			return err
		}
		return s.requeueDrifted(ctx, t)
	})
}

// requeueDrifted requeues a trigger with a source that differs from a row. The row is from an
// eventually consistent read, so the source may match a later one.
func (s *sweep) requeueDrifted(ctx context.Context, t trigger.Trigger) error {
	current, err := s.triggers.Get(ctx, t.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil || current.Generation != t.Generation || current.ObservedGeneration != t.ObservedGeneration {
		return err
	}
	s.record(ctx, drifted, t.ID)
	return s.triggers.Requeue(ctx, t.ID, s.now())
}

// hasDrifted reports whether the source of a ready trigger differs from the trigger.
func (s *sweep) hasDrifted(ctx context.Context, t trigger.Trigger) (bool, error) {
	switch t.Source() {
	case trigger.SourceCron:
		listed, err := s.listed.get(ctx)
		if err != nil {
			return false, err
		}
		has, verified, err := s.sources.Schedules.Drifted(ctx, t, listed.schedules)
		if err != nil || has || verified == "" || verified == t.Verified {
			return has, err
		}
		return false, s.triggers.SetVerified(ctx, t.ID, verified)
	case trigger.SourceSQS:
		if t.UpdatedAt.After(s.began) {
			return false, nil // its mapping may be newer than the list
		}
		mapped, err := s.mapped.get(ctx)
		if err != nil {
			return false, err
		}
		return s.sources.Queues.Drifted(ctx, t, mapped)
	default:
		return s.sources.Relay.Drifted(t), nil
	}
}

// orphanedSchedules removes the schedules without a trigger. A trigger's row exists before
// its schedules and is deleted after them, and its ID is never reused. A schedule without a
// row is therefore an orphan. The next run lists the next part of the schedules once all of
// this part are handled.
func (s *sweep) orphanedSchedules(ctx context.Context, after string) (string, error) {
	listed, err := s.listed.get(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.setProgress(listedFrom, "") // the token may have expired
		}
		return "", err
	}
	ids, next := pageOf(listed.schedules.TriggerIDs(), after)
	err = s.orphans(ctx, orphanedSchedules, ids, s.sources.Schedules.Remove)
	if next == "" && ctx.Err() == nil {
		s.setProgress(listedFrom, listed.next)
	}
	return next, err
}

// pageOf returns one page of a sorted list: what comes after a key.
func pageOf(sorted []string, after string) (page []string, next string) {
	from, found := slices.BinarySearch(sorted, after)
	if found {
		from++
	}
	if page = sorted[from:]; len(page) > pageSize {
		page = page[:pageSize]
		next = page[pageSize-1]
	}
	return page, next
}

// orphanedClaims removes the claims and mappings without a trigger.
func (s *sweep) orphanedClaims(ctx context.Context, after string) (string, error) {
	ids, next, err := s.claims.Holders(ctx, after, pageSize)
	if err != nil {
		return "", err
	}
	return next, s.orphans(ctx, orphanedClaims, ids, s.sources.Queues.Remove)
}

// miscounts corrects a count that differs from its rows.
func (s *sweep) miscounts(ctx context.Context, after string) (string, error) {
	found, next, err := s.containers.Counts.Recount(ctx, s.triggers, s.containers, s.namespaces, after, s.now())
	if err == nil && found != "" {
		s.record(ctx, miscounted, found)
	}
	return next, err
}

// orphans removes the source of a trigger if the trigger has no row.
func (s *sweep) orphans(ctx context.Context, kind string, ids []string, remove func(context.Context, trigger.Trigger) error) error {
	ids = unique(ids)
	present, err := s.triggers.Present(ctx, ids)
	if err != nil {
		return err
	}
	return forEach(ids, func(id string) error {
		if present[id] {
			return nil
		}
		s.record(ctx, kind, id)
		return finished(remove(ctx, trigger.Trigger{ID: id}))
	})
}

// setFound sets the value of a metric that is not a count of finds.
func (s *sweep) setFound(kind string, value int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found[kind] = value
}

// finished returns the error of a removal, or nil if Lambda is busy with the mapping. The
// next run finds the orphan again.
func finished(err error) error {
	if errors.Is(err, eventsource.ErrPending) {
		return nil
	}
	return err
}

// orphanedMappings removes the mappings of queues without a claim. A claim exists before its
// mapping and is deleted after it. orphanedMappings deletes only the mapping that it found.
// If a trigger claims the queue meanwhile, the queue gets another mapping.
func (s *sweep) orphanedMappings(ctx context.Context, after string) (string, error) {
	mapped, err := s.mapped.get(ctx)
	if err != nil {
		return "", err
	}
	queues, next := pageOf(slices.Sorted(maps.Keys(mapped)), after)
	return next, forEach(queues, func(arn string) error {
		if _, err := s.claims.Queue(ctx, arn); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		s.record(ctx, orphanedMappings, arn)
		var failures []error
		for _, m := range mapped[arn] {
			failures = append(failures, finished(s.sources.Queues.Mappings.Delete(ctx, m)))
		}
		return errors.Join(failures...)
	})
}

// unique sorts IDs and removes duplicates.
func unique(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}
