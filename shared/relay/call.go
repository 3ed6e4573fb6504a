package relay

import (
	"context"
	"errors"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/resolve"
)

// errPaused is the error of an event that comes between a pause and the end of the
// subscription. It is no failure of a call. A queue or a stream delivers the event again.
var errPaused = &invoke.Failure{Message: "the trigger is paused"}

// call calls the container for an event and records the error for error_message. It waits
// for a connection of the trigger's share.
func (s *subscription) call(ctx context.Context, event invoke.Event) error {
	if n, err := s.connections.take(ctx, 1, 1); err == nil { // otherwise the call fails at once
		defer s.connections.give(n)
	}
	target := s.currentTarget(ctx)
	if target.Trigger.Paused() {
		return errPaused
	}
	err := error(&invoke.Failure{Message: "the trigger or its container is deleted"})
	if !s.gone.Load() {
		err = target.Call(ctx, s.run.relay.Caller, event)
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
