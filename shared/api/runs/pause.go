package runs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/backoff"
)

// Pause returns the operation that pauses a trigger and answers it. No call begins after the
// answer: it comes when no dispatcher works any more with what it read before the pause.
func Pause(triggers store.Triggers, now func() time.Time) httpapi.Operation[trigger.Trigger] {
	handlers := resource.Handlers[trigger.Trigger]{Name: trigger.Resource, Store: triggers}
	operation := handlers.Update(func(_ context.Context, old trigger.Trigger, body []byte) (trigger.Trigger, error) {
		return old.Pause(body, now())
	})
	update := operation.Do
	operation.Do = func(ctx context.Context, caller auth.Principal, r httpapi.Request, found trigger.Trigger) (any, error) {
		answer, err := update(ctx, caller, r, found)
		if err != nil || found.Cron != nil { // dispatch-schedule reads the row for each occurrence
			return answer, err
		}
		// The first answer may be lost, so a request that is repeated at once waits too.
		if found.Paused() && now().Sub(found.PausedAt) > 2*resolve.TTL {
			return answer, nil
		}
		if err := backoff.Sleep(ctx, resolve.TTL); err != nil {
			return nil, fmt.Errorf("waiting for the dispatchers: %w", err)
		}
		return answer, nil
	}
	return operation
}

// Resume returns the operation that ends the pause of a trigger and answers the trigger. If
// the caller wants it, the last occurrence that the pause left out runs, without a wait for its
// end. It starts before the pause ends: if a resume fails before or between the two and is
// repeated, there is one run, not two or none.
func (s Starter) Resume() httpapi.Operation[trigger.Trigger] {
	handlers := resource.Handlers[trigger.Trigger]{Name: trigger.Resource, Store: s.Triggers}
	return handlers.Update(func(ctx context.Context, old trigger.Trigger, body []byte) (trigger.Trigger, error) {
		resumed, catchUp, err := old.Resume(body, s.Now())
		if err != nil || catchUp != trigger.CatchUpLast {
			return resumed, err
		}
		missed, ok, err := old.LastMissed(s.Now())
		if err != nil || !ok {
			return resumed, err
		}
		return resumed, s.startOnce(ctx, missed)
	})
}

// startOnce starts a run, unless an earlier resume or the schedule has. A run that an earlier
// resume queued may not have started. To start it twice does no harm, because dispatch-run
// claims it.
func (s Starter) startOnce(ctx context.Context, its run.Run) error {
	err := s.Runs.Enqueue(ctx, its, s.Now(), s.Now().Add(queuedTime))
	if !errors.Is(err, store.ErrClaimed) {
		if err != nil {
			return err
		}
		return s.start(ctx, its)
	}
	found, err := s.Runs.Get(ctx, its.Key)
	if errors.Is(err, store.ErrNotFound) {
		return nil // somebody has deleted the run
	}
	switch {
	case err != nil || found.Origin != run.CatchUp:
		return err
	case found.State == run.Failed && found.Reason == run.NotStarted:
		if err := s.Runs.Requeue(ctx, found.Key, s.Now(), s.Now().Add(queuedTime)); err != nil && !errors.Is(err, store.ErrClaimed) {
			return err
		}
	case found.State != run.Queued:
		return nil
	}
	return s.start(ctx, found)
}
