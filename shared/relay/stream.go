package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"containertriggers/shared/delivery"
	"containertriggers/shared/invoke"
)

const (
	// keepEvery is how often JetStream hears that a call is still under way; it
	// gives the message to nobody else for ackWait from then on.
	keepEvery = 5 * time.Second
	ackWait   = 3 * keepEvery
	// fetchTime is how long JetStream is asked to wait for messages, and so how long
	// a hand-over may have to.
	fetchTime = 3 * time.Second
	// maxAckPending is how many messages may be under way or wait for their next
	// try. Beyond that JetStream hands out nothing new.
	maxAckPending = 10_000
)

// findStream gives the stream that holds all of the trigger's subject; "" where
// there is none, or no JetStream that may be asked. An answer that does not come
// is an error: without it the messages of a stream would be taken for core NATS's.
func (s *natsSource) findStream(ctx context.Context) (string, error) {
	js, err := jetstream.New(s.conn)
	if err != nil {
		return "", fmt.Errorf("asking for JetStream: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	streams := js.ListStreams(ctx, jetstream.WithStreamListSubject(s.config.Subject))
	for info := range streams.Info() {
		for _, subject := range info.Config.Subjects {
			if covers(subject, s.config.Subject) {
				return info.Config.Name, nil
			}
		}
	}
	switch err := streams.Err(); {
	case err == nil, s.mayNotAsk.Load(),
		errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return "", nil
	default:
		return "", fmt.Errorf("asking for streams: %w", err)
	}
}

// covers says whether a stream's subject matches everything that the trigger's
// does.
func covers(stream, subject string) bool {
	wide, narrow := strings.Split(stream, "."), strings.Split(subject, ".")
	for i, token := range wide {
		switch {
		case i >= len(narrow):
			return false
		case token == ">":
			return true
		case narrow[i] == ">" || token != "*" && token != narrow[i]:
			return false
		}
	}
	return len(wide) == len(narrow)
}

// consumeStream takes messages of a stream through a durable consumer, which
// keeps its place while no relay runs.
func (s *natsSource) consumeStream(ctx context.Context, stream string) error {
	js, err := jetstream.New(s.conn)
	if err != nil {
		return fmt.Errorf("using JetStream: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	consumer, err := js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: s.group(), Description: "Container Triggers", FilterSubject: s.config.Subject,
		// From the trigger's creation on; each update keeps the place.
		DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxDeliver: -1, MaxAckPending: maxAckPending,
	})
	if err != nil {
		return fmt.Errorf("making a consumer of the stream %s: %w", stream, err)
	}
	s.stream, s.consumer = stream, consumer
	s.loop.Go(func() { s.fetching(consumer) })
	return nil
}

// fetching asks for as many messages as there are free slots, so that none waits
// in memory for its call, unknown to JetStream, and comes again meanwhile.
func (s *natsSource) fetching(consumer jetstream.Consumer) {
	for s.taking.Err() == nil {
		s.slots <- struct{}{}
		free := 1
		for more := true; more && free < s.Concurrency; {
			select {
			case s.slots <- struct{}{}:
				free++
			default:
				more = false
			}
		}
		batch, err := consumer.Fetch(free, jetstream.FetchMaxWait(fetchTime), jetstream.FetchMaxBytes(maxPendingBytes))
		if err == nil {
			// To the end, even when the source is being closed: they are fetched.
			for m := range batch.Messages() {
				free--
				s.calls.Go(func() {
					defer func() { <-s.slots }()
					s.deliverStream(m)
				})
			}
			err = batch.Error()
		}
		for range free {
			<-s.slots
		}
		switch {
		case errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, nats.ErrNoResponders):
			s.log.WarnContext(s.ctx, "the consumer was deleted at the server", "trigger_id", s.id)
			s.subMu.Lock()
			s.consumer = nil
			s.subMu.Unlock()
			s.wake() // it is made anew
			return
		case err != nil:
			select { // the client reconnects
			case <-time.After(reconnectWait):
			case <-s.taking.Done():
			}
		}
	}
}

// deliverStream makes a call, and tells JetStream what became of it.
func (s *natsSource) deliverStream(m jetstream.Msg) {
	info, err := m.Metadata()
	if err != nil {
		s.log.WarnContext(s.ctx, "a message without metadata", "trigger_id", s.id, "error", err)
		return
	}
	event := natsEvent(m.Subject(), m.Headers(), m.Data(), info.Timestamp)
	if event.ID == "" {
		event.ID = fmt.Sprintf("%s/%d", info.Stream, info.Sequence.Stream)
	}
	over := make(chan struct{})
	keep := time.AfterFunc(keepEvery, func() { keepBack(m, over) })
	err = s.call(s.ctx, event)
	keep.Stop()
	close(over)
	if err == nil {
		err = m.Ack()
	} else {
		var wanted time.Duration
		if failure, ok := errors.AsType[*invoke.Failure](err); ok {
			wanted = failure.RetryAfter
		}
		err = m.NakWithDelay(delivery.Backoff(int(info.NumDelivered), wanted))
	}
	if err != nil {
		// The server sends it again after ackWait.
		s.log.WarnContext(s.ctx, "acknowledging failed", "trigger_id", s.id, "error", err)
	}
}

// keepBack tells JetStream that a call is still under way, until it is over.
func keepBack(m jetstream.Msg, over <-chan struct{}) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		_ = m.InProgress() // it is tried again
		select {
		case <-over:
			return
		case <-ticker.C:
		}
	}
}

// forget deletes the trigger's consumer, which would hold messages back for ever in
// some streams.
func (s *natsSource) forget() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), askTimeout)
	defer cancel()
	js, err := jetstream.New(s.conn)
	if err == nil && !s.conn.IsConnected() {
		err = nats.ErrDisconnected
	}
	if err == nil && s.stream == "" {
		// It may be of an earlier run.
		s.stream, err = s.findStream(ctx)
	}
	if err == nil && s.stream != "" {
		err = js.DeleteConsumer(ctx, s.stream, s.group())
	}
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
		s.log.WarnContext(ctx, "deleting the consumer failed", "trigger_id", s.id, "error", err)
	}
}

// leftBy says whether the trigger, with its next config, has left the stream that
// this is the consumer of.
func (s *natsSource) leftBy(next source) bool {
	other, ok := next.(*natsSource)
	if !ok || s.stream == "" {
		return false
	}
	other.subMu.Lock()
	defer other.subMu.Unlock()
	return other.stream != "" && other.stream != s.stream
}
