package relay

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/semaphore"

	"containertriggers/shared/aws/queue"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/dispatch/batch"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/backoff"
)

const (
	// maxReceive is the maximum number of messages that SQS returns at once.
	maxReceive = 10
	// maxPauses limits the pause after a failed receive, in multiples of ReceivePause.
	maxPauses = 30
	// maxResponse limits the body of an endpoint's response, in bytes. It has room for
	// ten encoded messages of 1 MiB (SQS's quota).
	maxResponse = 16 << 20
	// maxEncoded is the largest size of one message in a response without Content-Length.
	maxEncoded = 2 << 20
	// decoding is the memory that a response needs, in multiples of its size: the decoder's
	// buffer, which doubles until it holds the response, the strings and their copy.
	decoding = 4
	// overhead is what a message has in a response beside its body and attributes.
	overhead = 4 << 10
)

// sqsSource polls a queue that has no event source mapping.
type sqsSource struct {
	sink
	client *sqs.Client
	// transport has the connections to the endpoint.
	transport *http.Transport
	config    trigger.SQS
	// slots limits the messages in delivery.
	slots *semaphore.Weighted
	// busy receives the next receive if one brought as many messages as it can.
	busy   chan *receive
	cancel context.CancelFunc
	// work waits for the receivers and the deliveries.
	work sync.WaitGroup
}

// openSQS returns a source that has started to poll the queue.
func openSQS(k sink, config trigger.SQS, key secret.Text, home queue.Home, dialer *net.Dialer) *sqsSource {
	ctx, cancel := context.WithCancel(k.ctx)
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: k.timing.ConnectTimeout,
		// The connections of the source, and one that helpLoop takes.
		MaxConnsPerHost: sqsConnections + 1, MaxIdleConnsPerHost: sqsConnections, IdleConnTimeout: time.Minute,
		// A compressed body could decompress to one of any size.
		DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
	}
	s := &sqsSource{
		sink: k, config: config, transport: transport, cancel: cancel, slots: semaphore.NewWeighted(int64(k.concurrency)), busy: make(chan *receive, 1),
		client: queue.NewClient(config, key, home.SigningRegion(config), &http.Client{
			Timeout:       k.timing.LongPoll + k.timing.Visibility/2 + 10*time.Second,
			Transport:     limitedTransport{transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
	}
	s.work.Go(func() { s.receiveLoop(ctx) })
	s.work.Go(func() { s.helpLoop(ctx) })
	return s
}

// limitedTransport limits the size of each response's body. It takes the memory for the
// response to a receive before the body is read.
type limitedTransport struct{ http.RoundTripper }

// RoundTrip makes a request. Reading more than the limit of the response's body returns a
// *[http.MaxBytesError].
func (l limitedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	limit := int64(maxResponse)
	if r, ok := request.Context().Value(receiveKey{}).(*receive); ok {
		size := min(response.ContentLength, limit)
		if size < 0 {
			limit = min(int64(r.messages)*maxEncoded, limit)
			size = limit
		}
		if err := r.takeFor(request.Context(), size); err != nil {
			_ = response.Body.Close()
			return nil, err
		}
	}
	response.Body = http.MaxBytesReader(nil, response.Body, limit)
	return response, nil
}

// receiveKey is the key of the *receive in the context of a request.
type receiveKey struct{}

// receive is one receive of a queue.
type receive struct {
	source *sqsSource
	// wait is the time that the receive waits for a message.
	wait time.Duration
	// messages is the maximum number of messages. Each takes the memory perMessage before
	// the receive begins.
	messages   int
	perMessage int64
	// helps is true if the receive needs a connection beyond those that the source keeps.
	helps bool

	// took is the memory that the receive has.
	took int64
	// cancel ends the receive, which is not retried then.
	cancel context.CancelFunc
	// response is the size of the response, sum that of the messages in it, and largest
	// that of the largest message.
	response, sum, largest int64
	received               int
	// lacked is the memory that the response needed, if there was none. failed is true if
	// the receive failed for another reason.
	lacked int64
	failed bool
}

// takeFor waits until the receive has the memory for a response. If it waited longer, the
// queue would hand out the messages again, so it then ends the receive.
func (r *receive) takeFor(ctx context.Context, size int64) error {
	needed := decoding * size
	r.response = size
	if needed <= r.took {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.source.timing.Visibility/2)
	defer cancel()
	// A share that holds nothing may take all that is free.
	r.source.memory.give(r.took)
	r.took = 0
	took, err := r.source.memory.take(ctx, needed, needed)
	if err != nil {
		r.lacked = needed
		r.cancel()
		return err
	}
	r.took = took
	return nil
}

// next returns the receive after this one. While a queue is empty, a receive waits for a
// single message, and takes no memory before that comes: there may be many queues, and each
// waits long. After a message, the next receive takes the memory for a whole batch, and does
// not wait.
func (r *receive) next() *receive {
	n := &receive{source: r.source, wait: r.source.timing.LongPoll, messages: 1, helps: r.helps}
	switch {
	case r.failed:
		n.wait = 0 // to report soon that the queue works
	case r.lacked > 0:
		n.wait, n.perMessage = 0, r.lacked
	case r.received > 0:
		// In the response, the bytes that JSON escapes are longer.
		encoded := r.largest * max(r.response, r.sum, 1) / max(r.sum, 1)
		n.wait, n.messages, n.perMessage = 0, r.source.batchSize(), decoding*(encoded+overhead)
	}
	return n
}

// batchSize returns the number of messages that a receive may bring.
func (s *sqsSource) batchSize() int {
	if queue.FIFO(s.config.QueueURL) {
		return 1 // a message that fails must not have later ones of its group behind it in the batch
	}
	return maxReceive
}

// receiveLoop receives messages and starts their delivery until ctx ends.
func (s *sqsSource) receiveLoop(ctx context.Context) {
	pause := s.timing.ReceivePause
	for r := (&receive{source: s, messages: 1}); ; r = r.next() { // the first one returns at once, to report the state of the queue
		began := time.Now()
		err := r.do(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case r.lacked > 0:
			s.log.WarnContext(ctx, "there was no memory for received messages: SQS redelivers them", "bytes", r.lacked)
		case err != nil:
			s.reportError(err)
			_ = backoff.Sleep(ctx, pause) // if ctx has ended, the next turn returns
			pause = min(2*pause, maxPauses*s.timing.ReceivePause)
			r.failed = true
			continue
		}
		s.report("")
		pause = s.timing.ReceivePause
		if r.received == maxReceive {
			select {
			case s.busy <- r.next():
			default:
			}
		}
		if r.received == 0 && r.wait > 0 && time.Since(began) < s.timing.ReceivePause {
			// The endpoint does not support long polling.
			_ = backoff.Sleep(ctx, s.timing.ReceivePause)
		}
	}
}

// helpLoop receives beside receiveLoop while the queue has many messages.
func (s *sqsSource) helpLoop(ctx context.Context) {
	for {
		var r *receive
		select {
		case r = <-s.busy:
		case <-ctx.Done():
			return
		}
		for r.helps = true; r.do(ctx) == nil && r.received == maxReceive; r = r.next() { // receiveLoop reports an error
		}
	}
}

// do receives messages and starts their delivery.
func (r *receive) do(ctx context.Context) error {
	s := r.source
	if r.messages = s.takeSlots(ctx, r.messages); r.messages == 0 {
		return ctx.Err()
	}
	unused := r.messages
	defer func() { s.releaseSlots(unused) }()
	if r.perMessage > 0 {
		var err error
		if r.took, err = s.memory.take(ctx, r.perMessage, int64(r.messages)*r.perMessage); err != nil {
			return err
		}
		r.messages = max(int(r.took/r.perMessage), 1)
	}
	defer func() { s.memory.give(r.took) }()
	if r.helps {
		// The memory comes before the connection, because a call has memory when it waits for
		// a connection.
		connection, err := s.connections.take(ctx, 1, 1)
		if err != nil {
			return err
		}
		defer s.connections.give(connection)
	}
	ctx, r.cancel = context.WithCancel(context.WithValue(ctx, receiveKey{}, r))
	defer r.cancel()
	answer, err := s.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &s.config.QueueURL, MaxNumberOfMessages: int32(r.messages),
		WaitTimeSeconds: int32(r.wait.Seconds()), VisibilityTimeout: int32(s.timing.Visibility.Seconds()),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		MessageAttributeNames:       []string{"All"},
	})
	if err != nil {
		return err
	}
	// An endpoint that returns more messages must not exceed the calls in flight.
	messages := toBatch(answer.Messages[:min(len(answer.Messages), r.messages)])
	if len(messages) == 0 {
		return nil
	}
	r.received = len(messages)
	for _, m := range messages {
		size := sizeOfMessage(m)
		r.sum, r.largest = r.sum+size, max(r.largest, size)
	}
	r.took -= r.sum
	unused -= len(messages)
	s.work.Go(func() {
		defer s.releaseSlots(len(messages))
		defer s.memory.give(r.sum)
		s.deliver(messages)
	})
	return nil
}

// takeSlots waits for a free slot and takes up to most. It returns their number, which is 0
// if ctx has ended.
func (s *sqsSource) takeSlots(ctx context.Context, most int) int {
	if s.slots.Acquire(ctx, 1) != nil {
		return 0
	}
	for n := 1; n < most; n++ {
		if !s.slots.TryAcquire(1) {
			return n
		}
	}
	return most
}

// releaseSlots frees slots.
func (s *sqsSource) releaseSlots(n int) { s.slots.Release(int64(n)) }

// toBatch returns received messages for their delivery.
func toBatch(received []types.Message) []batch.Message {
	messages := make([]batch.Message, len(received))
	for i, m := range received {
		attributes := make(map[string]batch.Attribute, len(m.MessageAttributes))
		for name, a := range m.MessageAttributes {
			attributes[name] = batch.Attribute{DataType: aws.ToString(a.DataType), String: a.StringValue, Binary: a.BinaryValue}
		}
		messages[i] = batch.NewMessage(aws.ToString(m.MessageId), aws.ToString(m.ReceiptHandle), aws.ToString(m.Body), m.Attributes, attributes)
	}
	return messages
}

// sizeOfMessage returns the size of a message's body and attributes.
func sizeOfMessage(m batch.Message) int64 {
	size := len(m.Event.Body)
	for name, values := range m.Event.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	return int64(size)
}

// reportError reports why a receive failed, in words for the trigger's owner.
func (s *sqsSource) reportError(err error) {
	if private, ok := errors.AsType[*invoke.PrivateError](err); ok {
		s.report("sqs_config.endpoint: " + private.Error())
		return
	}
	if problem, ok := errors.AsType[*queue.Problem](queue.Explain(err, s.config, "sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility")); ok {
		s.report(problem.Message)
		return
	}
	host := s.config.Endpoint
	if parsed, err := url.Parse(host); err == nil {
		host = parsed.Host
	}
	s.report("sqs_config.endpoint (" + host + ") does not answer like SQS: the relay retries")
}

// deliver delivers a batch and deletes the delivered messages from the queue.
func (s *sqsSource) deliver(messages []batch.Message) {
	of := batch.Messages{Client: s.client, URL: s.config.QueueURL}
	result := batch.Processor{Messages: of, Call: func(ctx context.Context, message batch.Message) error {
		return s.call(ctx, message.Event, message.Receives > 1)
	}}.Process(s.ctx, messages)
	receipts := make([]string, len(result.Delivered))
	for i, message := range result.Delivered {
		receipts[i] = message.Receipt
	}
	if err := s.delete(of, receipts); err != nil {
		s.log.WarnContext(s.ctx, "deleting delivered messages failed: SQS redelivers them", "error", err)
	}
}

// delete deletes messages. It retries for half of the visibility timeout, after which
// SQS may redeliver the messages anyway.
func (s *sqsSource) delete(of batch.Messages, receipts []string) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.timing.Visibility/2)
	defer cancel()
	for pause := s.timing.ReceivePause / 4; ; pause *= 2 {
		if err = of.Delete(ctx, receipts); err == nil {
			return nil
		}
		if backoff.Sleep(ctx, pause) != nil {
			return err
		}
	}
}

// countDropped does nothing, because a queue drops no messages.
func (s *sqsSource) countDropped() {}

// retire does nothing, because two sources may receive from one queue.
func (s *sqsSource) retire() {}

// close stops receiving and waits for the deliveries. It cancels receives in flight. SQS
// redelivers their messages after the visibility timeout.
func (s *sqsSource) close(bool) {
	s.cancel()
	s.work.Wait()
	s.transport.CloseIdleConnections()
}

// obsolete returns false, because SQS keeps nothing for a trigger.
func (s *sqsSource) obsolete(source) bool { return false }
