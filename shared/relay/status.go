package relay

import (
	"errors"
	"fmt"
	"time"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/record"
	"containertriggers/shared/domain/trigger"
)

// slowTime is the time after the last drop during which error_message reports it.
const slowTime = time.Minute

// report records that the source works, or the reason why it does not.
func (s *subscription) report(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known && reason == s.reason {
		return
	}
	if !s.known {
		s.known = true
		close(s.ready)
	}
	s.reason, s.dirty = reason, true
	if reason == "" {
		s.log.InfoContext(s.run.deliveries, "subscribed")
	} else {
		s.log.WarnContext(s.run.deliveries, "not subscribed", "reason", reason)
	}
	s.signal()
}

// rewriteStatus makes statusLoop write the status again.
func (s *subscription) rewriteStatus() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = s.known
	s.signal()
}

// signal wakes statusLoop.
func (s *subscription) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// addDropped adds to the number of dropped messages and returns the total.
func (s *subscription) addDropped(n int64) int64 {
	s.droppedAt.Store(s.run.relay.Resolver.Now().UnixNano())
	return s.dropped.Add(n)
}

// statusLoop keeps the trigger's status and error_message up to date until the
// subscription ends.
func (s *subscription) statusLoop() {
	ticker := time.NewTicker(s.run.timing.StatusInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.ended:
			s.updateLastError()
			return
		case <-s.changed:
			s.updateStatus()
		case <-ticker.C:
			s.updateStatus()
			s.updateLastError()
		}
	}
}

// updateStatus writes the last report into the trigger's row if the row does not have it
// yet.
func (s *subscription) updateStatus() {
	s.mu.Lock()
	reason, generation, dirty := s.reason, s.generation, s.dirty
	s.dirty = false
	s.mu.Unlock()
	if !dirty {
		return
	}
	ctx, resolver := s.run.deliveries, s.run.relay.Resolver
	found, err := resolver.Resolve(ctx, s.id, s.target.Load().Container.ID)
	if err == nil && found.Trigger.Generation == generation && found.Trigger.Status != trigger.Deleting && s.run.isAssigned(found.Trigger) {
		s.target.Store(found)
		if err = resolver.Triggers.MarkObserved(ctx, found.Trigger, reason, resolver.Now()); err == nil {
			s.refresh(ctx)
		}
	}
	if err != nil && !errors.Is(err, store.ErrSuperseded) && !errors.Is(err, store.ErrNotFound) {
		s.log.WarnContext(ctx, "updating the trigger's status failed", "error", err)
		s.mu.Lock()
		s.dirty = true // the next tick retries
		s.mu.Unlock()
	}
}

// updateLastError writes the error of the last call, or the number of dropped messages,
// into error_message if that has changed.
func (s *subscription) updateLastError() {
	s.source.countDropped()
	resolver, target := s.run.relay.Resolver, s.target.Load()
	message := *s.failure.Load()
	if message != "" && s.run.relay.Recorder.LeavesOut(s.id) {
		message += record.LeftOut
	}
	if n := s.dropped.Load(); n > 0 && resolver.Now().Sub(time.Unix(0, s.droppedAt.Load())) < slowTime {
		message = slowConsumer(n)
	}
	if target.Trigger.Status != trigger.Ready || message == target.ErrorMessage() {
		return
	}
	if err := target.SetLastError(s.run.deliveries, resolver.Triggers, message); err != nil {
		s.log.WarnContext(s.run.deliveries, "updating error_message failed", "error", err)
	}
}

// slowConsumer returns the error_message for dropped messages.
func slowConsumer(dropped int64) string {
	return fmt.Sprintf("slow consumer: %d messages were dropped so far, because they come faster than the container accepts them", dropped)
}
