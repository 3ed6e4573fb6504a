package relay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"containertriggers/shared/invoke"
	"containertriggers/shared/secret"
	"containertriggers/shared/trigger"
)

// eventType is the CloudEvents type of what a NATS trigger sends.
const eventType = "containertriggers.nats"

const (
	connectTimeout = 5 * time.Second
	reconnectWait  = time.Second
	// askTimeout bounds a question to the server.
	askTimeout = 5 * time.Second
	// permissionTime is how long the server's refusal of a subscription may come
	// after its answer to what was asked behind it: they take different ways
	// through the client.
	permissionTime = 50 * time.Millisecond
	// retryEvery is how often a subscription that failed is tried again.
	retryEvery = 5 * time.Second
	// What may wait in memory for a free call, for each trigger. A core NATS server
	// does not wait: what comes on top is dropped, counted and told.
	maxPending      = 32 << 10
	maxPendingBytes = 16 << 20
)

// natsSource is the subscription of a NATS trigger.
type natsSource struct {
	*holding
	config trigger.NATS
	conn   *nats.Conn
	// taking ends when nothing more is to be taken, by cancel; loop waits for what
	// takes.
	taking context.Context
	cancel context.CancelFunc
	loop   sync.WaitGroup
	// work hands calls to the goroutines that make them, until all is handed out;
	// calls waits for them.
	work    chan func()
	drained chan struct{}
	calls   sync.WaitGroup
	// refused gets the server's refusals of subscriptions.
	refused chan error
	woken   chan struct{}
	// mayNotAsk says that the credentials do not permit to use JetStream.
	mayNotAsk atomic.Bool

	subMu    sync.Mutex
	sub      *nats.Subscription
	closed   <-chan struct{} // of sub
	consumer jetstream.Consumer
	// countedOf is how many dropped messages of sub are counted.
	countedOf int
	stream    string // "" for core NATS
}

// openNATS begins to connect and subscribe. What becomes of it the holding is told
// of.
func openNATS(h *holding, config trigger.NATS, credentials secret.Text) source {
	s := &natsSource{holding: h, config: config, refused: make(chan error, 1), woken: make(chan struct{}, 1), work: make(chan func()), drained: make(chan struct{})}
	options := []nats.Option{
		func(o *nats.Options) error {
			o.Servers = config.ServerURLs // as they are: joined, a comma in one would make two
			return nil
		},
		nats.Name("container-triggers " + h.id), nats.SetCustomDialer(&natsDialer{Dialer: h.Dialer}), nats.SkipHostLookup(), nats.Timeout(connectTimeout),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait, reconnectWait),
		// What is refused now may be allowed later.
		nats.IgnoreAuthErrorAbort(),
		nats.ConnectHandler(func(*nats.Conn) { s.wake() }),
		nats.ReconnectHandler(func(*nats.Conn) { s.wake() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				h.report(explain(err))
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if !errors.Is(err, nats.ErrNoServers) { // which of them said what comes next
				h.report(explain(err))
			}
		}),
		nats.ErrorHandler(s.asyncError),
	}
	if credentials != "" {
		options = append(options, nats.UserCredentialBytes([]byte(credentials)))
	}
	s.taking, s.cancel = context.WithCancel(h.ctx)
	s.loop.Go(func() {
		// The first try is waited for, however long a server takes.
		conn, err := nats.Connect("", options...)
		if err != nil {
			h.report(explain(err))
			return
		}
		s.conn = conn
		s.subscribing(s.taking)
	})
	return s
}

func (s *natsSource) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// asyncError is told of what goes wrong beside the calls.
func (s *natsSource) asyncError(_ *nats.Conn, _ *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		// Told once while it lasts; count looks how many they are.
	case errors.Is(err, nats.ErrPermissionViolation):
		if !strings.Contains(strings.ToLower(err.Error()), "subscription to") {
			s.mayNotAsk.Store(true) // what the relay publishes are questions to JetStream
			return
		}
		select {
		case s.refused <- err:
		default:
		}
		s.report(explain(err))
		s.wake()
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		s.report(explain(err))
	}
}

// count counts what the client dropped because the calls are not made fast enough.
func (s *natsSource) count() {
	s.subMu.Lock()
	defer s.subMu.Unlock()
	if s.sub == nil {
		return
	}
	now, err := s.sub.Dropped()
	if err != nil || now <= s.countedOf {
		return // it counts from its subscription on
	}
	more := int64(now - s.countedOf)
	s.countedOf = now
	total := s.dropped.Add(more)
	s.droppedAt.Store(s.Now().UnixNano())
	s.log.WarnContext(s.ctx, "slow consumer", "trigger_id", s.id, "dropped", more, "dropped_total", total)
}

func slowConsumer(dropped int64) string {
	return fmt.Sprintf("slow consumer: %d messages were dropped so far, because the container takes them more slowly than they come", dropped)
}

// subscribing subscribes whenever there is a connection and no subscription.
func (s *natsSource) subscribing(ctx context.Context) {
	retry := time.NewTicker(retryEvery)
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

// subscribe makes sure that there is a subscription which the server accepts. One
// that is there is kept.
func (s *natsSource) subscribe(ctx context.Context) error {
	if s.visits {
		return nil
	}
	s.subMu.Lock()
	defer s.subMu.Unlock()
	if s.consumer != nil || s.sub != nil && s.sub.IsValid() {
		select {
		case err := <-s.refused: // the server took the permission back
			s.unsubscribe()
			return err
		default:
			return nil
		}
	}
	stream, err := s.findStream(ctx)
	if err != nil {
		return err
	}
	if stream != "" {
		return s.consumeStream(ctx, stream)
	}
	return s.subscribeCore()
}

func (s *natsSource) unsubscribe() {
	if s.sub != nil {
		_ = s.sub.Unsubscribe() // it may be gone already
		s.sub = nil
	}
}

// group is the queue group and the durable consumer of the trigger.
func (s *natsSource) group() string { return "trigger-" + s.id }

// subscribeCore subscribes without a stream, in a queue group: of two relays at a
// hand-over one gets each message.
func (s *natsSource) subscribeCore() error {
	select {
	case <-s.refused: // of an earlier try
	default:
	}
	sub, err := s.conn.QueueSubscribe(s.config.Subject, s.group(), func(m *nats.Msg) {
		s.take(func() { s.deliverCore(m) })
	})
	if err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	// Closed is a subscription whose last message has been handed out.
	closed := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(closed) })
	s.closed = closed
	if err := sub.SetPendingLimits(maxPending, maxPendingBytes); err != nil {
		return fmt.Errorf("bounding what waits: %w", err)
	}
	s.sub, s.countedOf = sub, 0
	if err := s.conn.FlushTimeout(askTimeout); err != nil {
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

// take has a call made when one of the trigger's slots is free; until then nothing
// more is taken from what waits. The goroutines that make calls stay: a new one
// for each would have to grow its stack anew.
func (s *natsSource) take(call func()) {
	select {
	case s.work <- call:
		return
	default:
	}
	select {
	case s.work <- call:
	case s.slots <- struct{}{}:
		s.calls.Go(func() {
			call()
			for {
				select {
				case call := <-s.work:
					call()
				case <-s.drained:
					return
				}
			}
		})
	}
}

func (s *natsSource) deliverCore(m *nats.Msg) {
	event := natsEvent(m.Subject, m.Header, m.Data, time.Now())
	if event.ID == "" {
		event.ID = nuid.Next()
	}
	err := s.persist(s.ctx, event)
	if err == nil {
		return
	}
	err = s.Dead.Put(s.ctx, Letter{
		TriggerID: s.id, Reason: err.Error(), ID: event.ID, Time: event.Time, Subject: m.Subject,
		Headers: m.Header, Payload: m.Data, PayloadBytes: len(m.Data),
	})
	if err != nil {
		s.log.ErrorContext(s.ctx, "a message is lost: the dead-letter queue did not take it", "trigger_id", s.id, "error", err)
	}
}

// natsEvent is what a message tells the container.
func natsEvent(subject string, header nats.Header, data []byte, at time.Time) invoke.Event {
	return invoke.Event{ID: header.Get(nats.MsgIdHdr), Type: eventType, Time: at, Subject: subject, Header: http.Header(header), Body: data}
}

// retire keeps this config from making the consumer anew, which both share.
func (s *natsSource) retire() { s.cancel() }

// close drains: nothing more is asked for, what was received is delivered.
func (s *natsSource) close(forget bool) {
	s.cancel()
	s.loop.Wait()
	if s.conn == nil {
		return
	}
	s.count()
	s.subMu.Lock()
	defer s.subMu.Unlock()
	if s.sub != nil {
		if err := s.sub.Drain(); err == nil {
			s.wait(s.closed)
		}
	}
	close(s.drained)
	s.calls.Wait()
	if forget {
		s.forget()
	}
	_ = s.conn.FlushTimeout(askTimeout) // the last acknowledgements; they may be lost, and the messages come again
	s.conn.Close()
}

// wait waits until what was received has been handed out. When the run is over
// calls fail at once, and what nobody keeps goes to the dead-letter queue, which
// takes a little time, too.
func (s *natsSource) wait(done <-chan struct{}) {
	select {
	case <-done:
		return
	case <-s.ctx.Done():
	}
	select {
	case <-done:
	case <-time.After(putTime):
	}
}
