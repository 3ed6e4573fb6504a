package relay

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"containertriggers/shared/delivery"
	"containertriggers/shared/invoke"
	"containertriggers/shared/queue"
	"containertriggers/shared/secret"
	"containertriggers/shared/trigger"
)

const (
	// longPoll is the longest that SQS lets a receive wait.
	longPoll = 20 * time.Second
	// visibility is for how long what was received stays hidden; a delivery that
	// takes longer asks for more.
	visibility = 30 * time.Second
	// receivers is how many receives of one queue are under way at the same time.
	receivers = 2
	// batch is the most that SQS gives at once.
	batch = 10
	// The pauses after a failed receive.
	firstPause, lastPause = time.Second, 30 * time.Second
)

// sqsSource polls a queue that no event source mapping can read.
type sqsSource struct {
	*holding
	client *sqs.Client
	config trigger.SQS
	// batches are taken by the batches that are being delivered.
	batches chan struct{}
	cancel  context.CancelFunc
	work    sync.WaitGroup
}

func openSQS(h *holding, config trigger.SQS, key secret.Text) source {
	ctx, cancel := context.WithCancel(h.ctx)
	s := &sqsSource{
		holding: h, config: config, cancel: cancel, batches: make(chan struct{}, max(h.Concurrency/batch, 1)),
		client: queue.NewClient(config, key, h.Home.SigningRegion(config), &http.Client{
			Timeout: longPoll + 10*time.Second,
			Transport: bounded{&http.Transport{
				DialContext: h.Dialer.DialContext, TLSHandshakeTimeout: connectTimeout,
				MaxIdleConnsPerHost: 2 * receivers, IdleConnTimeout: time.Minute,
				// A small answer is not to unfold into a large one.
				DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
			}},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
	}
	for range receivers {
		s.work.Go(func() { s.receive(ctx) })
	}
	return s
}

// receive takes batches, as many as are delivered at the same time, until ctx is
// over.
func (s *sqsSource) receive(ctx context.Context) {
	most := int32(batch)
	if queue.FIFO(s.config.QueueURL) {
		most = 1 // as with a mapping: nothing is received behind what may fail
	}
	pause, wait := firstPause, time.Duration(0) // at first, to know soon how the queue is
	for {
		select {
		case s.batches <- struct{}{}:
		case <-ctx.Done():
			return
		}
		asked := time.Now()
		answer, err := s.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &s.config.QueueURL, MaxNumberOfMessages: most,
			WaitTimeSeconds: int32(wait.Seconds()), VisibilityTimeout: int32(visibility.Seconds()),
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
			MessageAttributeNames:       []string{"All"},
		})
		if err != nil {
			<-s.batches
			if ctx.Err() != nil {
				return
			}
			s.failed(err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause, wait = min(2*pause, lastPause), 0
			continue
		}
		s.report("")
		// More than was asked for would be more calls at once than there may be.
		messages := answer.Messages[:min(len(answer.Messages), int(most))]
		s.work.Go(func() {
			defer func() { <-s.batches }()
			if len(messages) > 0 {
				s.deliver(messages)
			}
		})
		if len(messages) == 0 && wait > 0 && time.Since(asked) < firstPause {
			// It was to wait for a message, and did not.
			select {
			case <-time.After(firstPause):
			case <-ctx.Done():
			}
		}
		pause, wait = firstPause, longPoll
	}
}

// failed tells why the queue cannot be read, if that is for its owner to repair.
func (s *sqsSource) failed(err error) {
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
	s.report("sqs_config.endpoint (" + host + ") does not answer as SQS does: it is tried again")
}

// deliver delivers a batch as dispatch-queue does, and deletes what was taken.
func (s *sqsSource) deliver(received []types.Message) {
	messages := make([]delivery.Message, len(received))
	for i, m := range received {
		attributes := make(map[string]delivery.Attribute, len(m.MessageAttributes))
		for name, a := range m.MessageAttributes {
			attributes[name] = delivery.Attribute{DataType: aws.ToString(a.DataType), String: a.StringValue, Binary: a.BinaryValue}
		}
		messages[i] = delivery.NewMessage(aws.ToString(m.MessageId), aws.ToString(m.ReceiptHandle), aws.ToString(m.Body), m.Attributes, attributes)
	}
	of := queue.Messages{Client: s.client, URL: s.config.QueueURL}
	result := delivery.Delivery{Messages: of, Call: s.call}.Deliver(s.ctx, messages)
	receipts := make([]string, len(result.Delivered))
	for i, message := range result.Delivered {
		receipts[i] = message.Receipt
	}
	if err := s.delete(of, receipts); err != nil {
		s.log.WarnContext(s.ctx, "deleting what was delivered failed: it will be delivered again", "trigger_id", s.id, "error", err)
	}
}

// delete tries until the messages would come back anyway.
func (s *sqsSource) delete(of queue.Messages, receipts []string) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), visibility/2)
	defer cancel()
	for pause := firstPause / 4; ; pause *= 2 {
		if err = of.Delete(ctx, receipts); err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// count has nothing to count: a queue keeps what is not taken.
func (s *sqsSource) count() {}

// retire has nothing to do: two configs may receive beside each other.
func (s *sqsSource) retire() {}

// close stops receiving and waits for what was received. A receive that is under
// way is cut off: what SQS was about to give comes back after the visibility
// timeout.
func (s *sqsSource) close(bool) {
	s.cancel()
	s.work.Wait()
}
