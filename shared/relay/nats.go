package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"containertriggers/shared/delivery"
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
		nats.Name("container-triggers " + h.id), nats.SetCustomDialer(h.Dialer), nats.Timeout(connectTimeout),
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
		conn, err := nats.Connect(strings.Join(config.ServerURLs, ","), options...)
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
		if strings.Contains(strings.ToLower(err.Error()), "subscription to") {
			select {
			case s.refused <- err:
			default:
			}
			s.report(explain(err))
			s.wake()
		}
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

// findStream gives the stream that holds all of the trigger's subject; "" where
// there is none, or no JetStream that may be asked.
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
	// No JetStream, or none that the credentials may ask: it is core NATS then.
	return "", nil
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
		batch, err := consumer.Fetch(free, jetstream.FetchMaxWait(fetchTime))
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
	keep := time.AfterFunc(keepEvery, nil)
	keep.Stop()
	keep = time.AfterFunc(keepEvery, func() {
		_ = m.InProgress() // it is tried again
		keep.Reset(keepEvery)
	})
	err = s.call(s.ctx, event)
	keep.Stop()
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

// explain puts what keeps a subscription from working into the owner's words. It
// holds nothing of the credentials.
func explain(err error) string {
	if private, ok := errors.AsType[*invoke.PrivateError](err); ok {
		return "nats_config.server_urls: " + private.Error()
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		if lookup.IsNotFound {
			return "nats_config.server_urls: a server's name does not resolve"
		}
		return "nats_config.server_urls: a server's name could not be looked up"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "nats_config.server_urls: a server's certificate is not trusted"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "nats_config.server_urls: a server's certificate is for another name"
	}
	text := strings.ToLower(err.Error())
	var network net.Error
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		return "the NATS server does not permit the subscription (permissions violation): allow the user to subscribe to nats_config.subject"
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		return "the NATS server refuses the credentials, which have expired: give new ones in nats_config.credentials_file_content"
	case errors.Is(err, nats.ErrAuthRevoked):
		return "the NATS server refuses the credentials, which were revoked: give new ones in nats_config.credentials_file_content"
	case errors.Is(err, nats.ErrAuthorization), strings.Contains(text, "authorization violation"), strings.Contains(text, "authentication"):
		return "the NATS server refuses the connection (authorization violation): correct nats_config.credentials_file_content"
	case strings.Contains(text, "nkey"), strings.Contains(text, "jwt"), strings.Contains(text, "credential"), strings.Contains(text, "seed"):
		return "nats_config.credentials_file_content is not a credentials file, which holds a user's JWT and nkey seed"
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return "nats_config.server_urls: one of server and URL wants TLS, and the other does not"
	case errors.Is(err, nats.ErrInvalidConnection), errors.Is(err, nats.ErrBadSubject):
		return "nats_config is not one to connect with: " + err.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "cannot connect to a server of nats_config.server_urls: it refuses connections"
	case errors.Is(err, nats.ErrTimeout), errors.As(err, &network) && network.Timeout():
		return "cannot connect to a server of nats_config.server_urls: it does not answer in time"
	case errors.Is(err, jetstream.ErrConsumerCreate), strings.Contains(text, "consumer"):
		return "JetStream refuses the trigger's consumer: " + strings.TrimPrefix(err.Error(), "nats: ")
	}
	return "cannot connect to a server of nats_config.server_urls: the connection is broken"
}
