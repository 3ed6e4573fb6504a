package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// denial is a subject to which the server does not permit to publish.
type denial struct {
	subject string
	at      time.Time
}

// denialTime is the time for which the source reports a denial.
const denialTime = time.Minute

// denial returns an error if the server refused a request within denialTime.
func (s *natsSource) denial() error {
	denied := s.denied.Load()
	if denied == nil || s.now().Sub(denied.at) > denialTime {
		return nil
	}
	return unsupported("the NATS server does not permit to use the stream (permissions violation): allow the user to publish to " + denied.subject)
}

// subscribeLoop keeps the source subscribed while it is connected, until ctx ends.
func (s *natsSource) subscribeLoop(ctx context.Context) {
	retry := time.NewTicker(s.timing.CheckInterval)
	defer retry.Stop()
	for {
		if s.conn.IsConnected() {
			switch err := s.subscribe(ctx); {
			case err == nil:
				s.report("")
			case ctx.Err() == nil && s.conn.IsConnected():
				s.report(explain(err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.woken:
		case <-retry.C:
		}
	}
}

// subscribe checks the subscription, and subscribes if there is none: to the stream
// that holds the subject, or to core NATS if there is no such stream. It returns an
// error if the source does not receive messages.
func (s *natsSource) subscribe(ctx context.Context) error {
	if s.cleanupOnly {
		return nil
	}
	s.subMu.Lock()
	defer s.subMu.Unlock()
	if s.reconnected.CompareAndSwap(true, false) {
		s.subscribed, s.lookAt = s.now(), time.Time{}
	}
	if s.durable != nil {
		if err := s.check(ctx, s.durable); errors.Is(err, errReplaced) {
			s.durable.cancel()
			s.durable = nil
		} else if err != nil {
			return cmp.Or(s.denial(), err)
		}
	} else if s.sub != nil && s.sub.IsValid() {
		select {
		case err := <-s.refused: // the server has withdrawn the permission
			s.unsubscribe()
			return err
		default:
		}
	} else {
		s.sub = nil
	}
	if s.durable != nil || s.sub != nil {
		if s.now().Before(s.lookAt) || s.listDenied.Load() {
			return s.denial()
		}
	}
	last := s.durable
	if err := s.look(ctx); err != nil {
		return cmp.Or(s.denial(), err)
	}
	// After a new consumer the next check looks again: the stream may have been replaced
	// between the look and the consumer.
	if s.durable == last {
		s.lookAt = s.now().Add(s.timing.StreamInterval)
	}
	return s.denial()
}

// look subscribes to the stream that holds the subject, or to core NATS if there is
// none.
func (s *natsSource) look(ctx context.Context) error {
	js, err := jetstream.New(s.conn)
	if err != nil {
		return fmt.Errorf("using JetStream: %w", err)
	}
	found, err := s.findStream(ctx, js)
	if _, explained := errors.AsType[unsupported](err); err != nil && !explained && (s.durable != nil || s.sub != nil) {
		s.log.WarnContext(ctx, "looking for a stream failed", "error", err)
		return nil // the present subscription stays
	}
	switch {
	case err != nil:
		return err
	case found == nil:
		return s.toCore(ctx, js)
	default:
		return s.toStream(ctx, js, found)
	}
}

// toStream switches to a stream.
func (s *natsSource) toStream(ctx context.Context, js jetstream.JetStream, found *foundStream) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.timing.RequestTimeout)
	defer cancel()
	next, err := s.ensureConsumer(ctx, js, found)
	if err != nil {
		return err
	}
	if s.durable.same(next) {
		next.cancel()
		return nil
	}
	s.leaveStream(ctx, js, found.Config.Name)
	s.durable = next
	s.receivers.Go(func() { s.fetchLoop(next) })
	if s.sub != nil {
		s.log.InfoContext(ctx, "switched from core NATS to a stream", "stream", found.Config.Name)
		if err := s.drain(); err != nil {
			s.log.WarnContext(ctx, "draining the core NATS subscription failed", "error", err)
		}
		s.core.end()
		s.sub = nil
	}
	return nil
}

// toCore switches to core NATS.
func (s *natsSource) toCore(ctx context.Context, js jetstream.JetStream) error {
	if s.sub != nil {
		return nil
	}
	if err := s.subscribeCore(); err != nil {
		return err
	}
	s.subscribed = s.now()
	if s.last != nil {
		s.log.InfoContext(ctx, "switched from a stream to core NATS", "stream", s.last.stream)
	}
	s.leaveStream(ctx, js, "")
	return nil
}

// leaveStream stops fetching from the present stream. It deletes the consumer unless
// the next stream has the same name.
func (s *natsSource) leaveStream(ctx context.Context, js jetstream.JetStream, next string) {
	left := s.durable
	if left == nil {
		return
	}
	s.durable = nil
	left.cancel()
	if left.found.Config.Name == next {
		return
	}
	s.deleteConsumer(ctx, js, left.found.Config.Name)
}

// unsubscribe ends the subscription to core NATS.
func (s *natsSource) unsubscribe() {
	if s.sub != nil {
		_ = s.sub.Unsubscribe() // it fails if the server has ended the subscription
		s.core.end()
		s.sub = nil
	}
}

// group returns the name of the trigger's queue group and durable consumer.
func (s *natsSource) group() string { return "trigger-" + s.triggerID }

// subscribeCore subscribes to core NATS in a queue group. During a hand-over, each
// message then goes to only one of the two runs.
func (s *natsSource) subscribeCore() error {
	select {
	case <-s.refused: //nolint:errcheck // an earlier attempt reported it
	default:
	}
	sub, err := s.conn.QueueSubscribe(s.config.Subject, s.group(), func(m *nats.Msg) {
		s.core.delivering(m)
		s.dispatch(func() { s.deliverCore(m) })
	})
	if err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	// The handler runs after the last message is handed out.
	closed := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(closed) })
	s.closed = closed
	if err := sub.SetPendingLimits(s.maxPending, maxPendingBytes); err != nil {
		return fmt.Errorf("limiting the pending messages: %w", err)
	}
	s.sub, s.counted = sub, 0
	s.core.begin(sub)
	if err := s.conn.FlushTimeout(s.timing.RequestTimeout); err != nil {
		s.unsubscribe()
		return fmt.Errorf("subscribing: %w", err)
	}
	select {
	case err := <-s.refused:
		s.unsubscribe()
		return err
	case <-time.After(permissionTime):
		return nil
	}
}
