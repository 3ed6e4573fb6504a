package relay

import (
	"context"
	"errors"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/record"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/run"
)

// errPaused is the error of an event that comes between a pause and the end of the
// subscription. It is no failure of a call. A queue or a stream delivers the event again.
var errPaused = &invoke.Failure{Message: "the trigger is paused"}

// call calls the container for an event. It records the call, and the error for
// error_message. Repeated says whether the event was delivered before. It waits for a
// connection of the trigger's share.
func (s *subscription) call(ctx context.Context, event invoke.Event, repeated bool) error {
	if n, err := s.connections.take(ctx, 1, 1); err == nil { // otherwise the call fails at once
		defer s.connections.give(n)
	}
	target := s.currentTarget(ctx)
	if target.Trigger.Paused() {
		return errPaused
	}
	err := error(&invoke.Failure{Message: "the trigger or its container is deleted"})
	if !s.gone.Load() {
		var made run.Attempt
		made, err = target.Attempt(ctx, s.run.relay.Caller, event, s.run.relay.Resolver.Now)
		s.run.relay.Recorder.Add(ctx, record.Call{Trigger: target.Trigger, Event: event, Attempt: made, Repeated: repeated})
	}
	failure := ""
	if err != nil {
		failure = err.Error()
	}
	if *s.failure.Load() != failure {
		s.failure.Store(&failure)
	}
	return err
}

// giveUp records that an event failed for good. It returns an error if its run does not keep
// the whole event.
func (s *subscription) giveUp(event invoke.Event, failure error) error {
	return s.run.relay.Recorder.GiveUp(s.run.deliveries, s.target.Load().Trigger, event, failure)
}

// currentTarget returns a fresh target. It starts to read the target again at half of
// its lifetime, so that calls rarely wait for a read.
func (s *subscription) currentTarget(ctx context.Context) *resolve.Target {
	current := s.target.Load()
	switch now := s.run.relay.Resolver.Now(); {
	case !current.Fresh(now):
		s.refreshing.Lock()
		defer s.refreshing.Unlock()
		if current = s.target.Load(); !current.Fresh(s.run.relay.Resolver.Now()) {
			s.refresh(ctx)
		}
		return s.target.Load()
	case !current.Fresh(now.Add(resolve.TTL / 2)):
		if s.refreshing.TryLock() {
			go func() {
				defer s.refreshing.Unlock()
				s.refresh(s.run.deliveries)
			}()
		}
	}
	return current
}

// refresh reads the target again. It keeps the last one if the read fails.
func (s *subscription) refresh(ctx context.Context) {
	last := s.target.Load()
	found, err := s.run.relay.Resolver.Resolve(ctx, s.id, last.Container.ID)
	switch {
	case err == nil:
		s.target.CompareAndSwap(last, found)
	case errors.Is(err, store.ErrNotFound):
		s.gone.Store(true)
	default:
		s.log.WarnContext(ctx, "reading the trigger again failed", "error", err)
	}
}
