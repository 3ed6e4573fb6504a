package relay

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/relay/natsconn"
)

const (
	// permissionTime is the time that the client may take to report that the server
	// refused a subscription. The report may come after the server's answer to a later
	// request, because the two take different ways through the client.
	permissionTime = 50 * time.Millisecond
	// These limits apply to the messages of one trigger that wait in memory for a free
	// slot. A core NATS server does not wait for a slow subscriber, so the client drops
	// the messages beyond the limits. The relay counts and reports them.
	defaultMaxPending = 32 << 10
	maxPendingBytes   = 16 << 20
)

// natsSource is the source of a NATS trigger.
type natsSource struct {
	sink
	config    trigger.NATS
	positions store.Positions
	// cleanupOnly is true if the source must not receive messages.
	cleanupOnly bool
	conn        *nats.Conn
	// receiving ends when close stops the source, by cancel. receivers waits for the
	// goroutines that connect, subscribe and fetch.
	receiving context.Context
	cancel    context.CancelFunc
	receivers sync.WaitGroup
	// slots holds an element for each message of a stream that is fetched or in delivery.
	slots chan struct{}
	// work passes messages to the workers, which are goroutines that make calls. workers
	// holds an element for each of them. They end when drained is closed. calls waits for
	// them.
	work    chan func()
	workers chan struct{}
	drained chan struct{}
	calls   sync.WaitGroup
	// refused receives the server's refusals of subscriptions.
	refused chan error
	woken   chan struct{}
	// listDenied is true if the credentials do not permit to list streams.
	listDenied atomic.Bool
	// denied is the last refusal of a request about a consumer, or of an
	// acknowledgement.
	denied atomic.Pointer[denial]
	// reconnected is true after a connection was lost, during which core NATS may have
	// missed messages.
	reconnected atomic.Bool
	retired     bool

	subMu  sync.Mutex
	sub    *nats.Subscription // of core NATS
	closed <-chan struct{}    // closed when the last message of the last sub is handed out
	// subscribed is the time at which sub began.
	subscribed time.Time
	// counted is the number of dropped messages of sub that the sink knows.
	counted int
	// core accounts for the memory of messages of core NATS.
	core    coreMemory
	durable *durable  // of JetStream
	last    *progress // in the last stream
	stored  store.Position
	// lookAt is the time of the next look for a stream.
	lookAt time.Time
}

// newNATSSource returns a source that is not connected yet.
func newNATSSource(k sink, config trigger.NATS, positions store.Positions) *natsSource {
	return &natsSource{
		core: coreMemory{share: k.memory},
		sink: k, config: config, positions: positions, slots: make(chan struct{}, k.concurrency), workers: make(chan struct{}, k.concurrency),
		refused: make(chan error, 1), woken: make(chan struct{}, 1), work: make(chan func()), drained: make(chan struct{}),
	}
}

// open starts to connect and subscribe. The source reports the outcome to its sink.
func (s *natsSource) open(dialer *net.Dialer, credentials secret.Text) {
	limited, servers := natsconn.New(dialer, s.timing.ConnectTimeout, s.config.ServerURLs)
	limited.Admit = s.core.admit
	options := []nats.Option{
		func(o *nats.Options) error {
			o.Servers = servers // nats.Connect would split a URL at a comma
			return nil
		},
		nats.Name("container-triggers " + s.triggerID), nats.SetCustomDialer(limited), nats.SkipHostLookup(), nats.Timeout(s.timing.ConnectTimeout),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(s.timing.ReconnectWait), nats.ReconnectJitter(s.timing.ReconnectWait, s.timing.ReconnectWait),
		// The server may accept the credentials later.
		nats.IgnoreAuthErrorAbort(),
		nats.ConnectHandler(func(*nats.Conn) { s.wake() }),
		nats.ReconnectHandler(func(*nats.Conn) {
			s.reconnected.Store(true)
			s.wake()
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				s.report(explain(err))
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if !errors.Is(err, nats.ErrNoServers) { // the errors of the servers say more
				s.report(explain(err))
			}
		}),
		nats.ErrorHandler(s.asyncError),
	}
	if credentials != "" {
		options = append(options, nats.UserCredentialBytes([]byte(credentials)))
	}
	s.receiving, s.cancel = context.WithCancel(s.ctx)
	s.receivers.Go(func() {
		// Connect waits for its first attempt, even if a server does not answer.
		conn, err := nats.Connect("", options...)
		if err != nil {
			s.report(explain(err))
			return
		}
		s.conn = conn
		s.subscribeLoop(s.receiving)
	})
}

// wake makes subscribeLoop check the subscription at once.
func (s *natsSource) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// asyncError handles the errors that nats.go does not return from a call.
func (s *natsSource) asyncError(_ *nats.Conn, _ *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		// It comes once for many dropped messages, which countDropped counts.
	case errors.Is(err, nats.ErrPermissionViolation):
		switch text := strings.ToLower(err.Error()); {
		case strings.Contains(text, `"$js.api.stream.list`), strings.Contains(text, `subscription to "_inbox.`):
			s.listDenied.Store(true)
			return
		case strings.Contains(text, `"$js.api.stream.`):
			return // the request about the stream fails and is reported
		case !strings.Contains(text, "subscription to"): // the relay publishes only to JetStream
			_, subject, _ := strings.Cut(err.Error(), `"`)
			subject, _, _ = strings.Cut(subject, `"`)
			s.denied.Store(&denial{subject, s.now()})
			s.wake()
			return
		}
		select {
		case s.refused <- err:
		default:
		}
		s.report(explain(err))
		s.wake()
	case errors.Is(err, nats.ErrBadHeaderMsg):
		s.log.WarnContext(s.ctx, "a message has malformed headers and is delivered without them")
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		s.report(explain(err))
	}
}

// countDropped reports messages that the client dropped because the container is slow.
func (s *natsSource) countDropped() {
	s.subMu.Lock()
	defer s.subMu.Unlock()
	s.countDroppedLocked()
}

func (s *natsSource) countDroppedLocked() {
	if s.sub == nil {
		return
	}
	more := s.core.refused.Swap(0)
	if now, err := s.sub.Dropped(); err == nil { // since the subscription began; it fails if the subscription has ended
		more += int64(now - s.counted)
		s.counted = now
	}
	if more == 0 {
		return
	}
	total := s.addDropped(more)
	s.log.WarnContext(s.ctx, "slow consumer", "dropped", more, "dropped_total", total)
}

// dispatch makes a call if a worker is free or may be started. Otherwise it blocks, so that
// the client keeps the next messages. Workers are reused: a new goroutine for each call would
// have to grow its stack each time.
func (s *natsSource) dispatch(call func()) {
	select {
	case s.work <- call:
		return
	default:
	}
	select {
	case s.work <- call:
	case s.workers <- struct{}{}:
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

// deliverCore delivers a message of core NATS. It keeps the message as a dead letter if all
// calls fail.
func (s *natsSource) deliverCore(m *nats.Msg) {
	defer s.core.delivered(m)
	event := natsEvent(m.Subject, m.Header, m.Data, time.Now())
	if event.ID == "" {
		event.ID = nuid.Next()
	}
	if err := s.callWithRetry(event); err != nil {
		s.deadLetter(event, err)
	}
}

// natsEvent returns the event for a message. Its ID is empty if the publisher gave none.
func natsEvent(subject string, header nats.Header, data []byte, at time.Time) invoke.Event {
	return invoke.Event{ID: header.Get(nats.MsgIdHdr), Type: invoke.EventType(trigger.SourceNATS), Time: at, Subject: subject, Header: http.Header(header), Body: data}
}

// retire keeps the source from creating the consumer again and from storing its
// position. The trigger's next source uses the same consumer.
func (s *natsSource) retire() {
	s.retired = true
	s.cancel()
}

// close drains: it receives no new message and delivers those that it has received. If
// cleanup is true, it also deletes the trigger's consumer.
func (s *natsSource) close(cleanup bool) {
	s.cancel()
	s.receivers.Wait()
	if s.conn == nil {
		return
	}
	s.subMu.Lock()
	defer s.subMu.Unlock()
	if s.sub != nil {
		if err := s.drain(); err != nil {
			s.closed = nil
		}
	}
	if s.closed != nil {
		s.waitHandedOut(s.closed)
	}
	close(s.drained)
	s.calls.Wait()
	_ = s.conn.FlushTimeout(s.timing.RequestTimeout) // if an acknowledgement is lost, JetStream redelivers its message
	switch {
	case cleanup:
		s.deleteLastConsumer()
	case s.durable != nil && !s.retired && s.conn.IsConnected():
		if err := s.check(context.WithoutCancel(s.ctx), s.durable); err != nil {
			s.log.WarnContext(s.ctx, "storing the last position failed", "error", err)
		}
	}
	s.conn.Close()
}

// drain ends the subscription to core NATS. The client hands out the messages that it has
// received. It counts those that it drops until the server sends no more: the client forgets
// their number when it has handed out the last message.
func (s *natsSource) drain() error {
	s.flushAndCount()
	err := s.sub.Drain()
	s.flushAndCount()
	return err
}

// flushAndCount waits until the client has received what the server has sent, and counts the
// messages that the client has dropped.
func (s *natsSource) flushAndCount() {
	if s.conn.IsConnected() {
		_ = s.conn.FlushTimeout(s.timing.RequestTimeout) // if the server does not answer, there is nothing to wait for
	}
	s.countDroppedLocked()
}

// waitHandedOut waits until done is closed. When the run's time is over, calls fail at
// once, and it allows the dead-letter queue a little time for the rest.
func (s *natsSource) waitHandedOut(done <-chan struct{}) {
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
