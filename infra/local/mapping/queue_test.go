package mapping_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	hosted "containertriggers/infra/local/lambda"
	"containertriggers/infra/local/mapping"
	"containertriggers/infra/local/moto/mototest"
)

// consumers are the functions behind the mapped queues, by the queue's ARN. One
// poller serves all tests: it polls all mappings that there are.
var consumers sync.Map

// results are the processing results that mappings report, by their UUID.
var results sync.Map

// stops are the mappings that are no longer polled, by their UUID, with a channel that tells
// that the poller asked.
var stops sync.Map

var polling sync.Once

func poll(cfg aws.Config) {
	poller := mapping.Poller{
		Lambda: lambda.NewFromConfig(cfg), Streams: dynamodbstreams.NewFromConfig(cfg), Queues: sqs.NewFromConfig(cfg),
		Invoke: func(_ context.Context, _ string, payload []byte) ([]byte, error) {
			var batch events.SQSEvent
			if err := json.Unmarshal(payload, &batch); err != nil {
				return nil, err
			}
			if consumer, ok := consumers.Load(batch.Records[0].EventSourceARN); ok {
				return consumer.(func(events.SQSEvent) ([]byte, error))(batch)
			}
			return []byte("{}"), nil // the tables' streams
		},
		Report: func(uuid, result string) { results.Store(uuid, result) },
		Polls: func(uuid string) bool {
			asked, stopped := stops.Load(uuid)
			if stopped {
				asked.(chan struct{}) <- struct{}{}
			}
			return !stopped
		},
	}
	go poller.Run(context.Background()) // until the test binary ends
}

// queueBundle is a queue on moto that is mapped on a function of the test's own.
type queueBundle struct {
	t             *testing.T
	queues        *sqs.Client
	lambda        *lambda.Client
	url, arn, uid string
	batches       chan events.SQSEvent
}

// setupQueue maps a queue and polls. The function answers what answer says.
func setupQueue(t *testing.T, attributes map[string]string, scaling *types.ScalingConfig, answer func(events.SQSEvent) ([]byte, error)) *queueBundle {
	t.Helper()
	cfg, env := mototest.Config(t), mototest.Environment(t, "reconcile")
	b := &queueBundle{t: t, queues: sqs.NewFromConfig(cfg), lambda: lambda.NewFromConfig(cfg), batches: make(chan events.SQSEvent, 100)}
	name := uuid.NewString()
	if attributes["FifoQueue"] == "true" {
		name += ".fifo"
	}
	created, err := b.queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	b.url, b.arn = *created.QueueUrl, "arn:aws:sqs:us-east-1:123456789012:"+name
	mapped, err := b.lambda.CreateEventSourceMapping(t.Context(), &lambda.CreateEventSourceMappingInput{
		EventSourceArn: &b.arn, FunctionName: aws.String(env["DISPATCH_QUEUE_ARN"]), ScalingConfig: scaling,
		FunctionResponseTypes: []types.FunctionResponseType{types.FunctionResponseTypeReportBatchItemFailures},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.uid = *mapped.UUID
	consumers.Store(b.arn, func(batch events.SQSEvent) ([]byte, error) {
		b.batches <- batch
		return answer(batch)
	})
	polling.Do(func() { poll(cfg) })
	return b
}

func (b *queueBundle) send(bodies ...string) {
	b.t.Helper()
	for _, body := range bodies {
		if _, err := b.queues.SendMessage(b.t.Context(), &sqs.SendMessageInput{QueueUrl: &b.url, MessageBody: &body}); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *queueBundle) next() events.SQSEvent {
	b.t.Helper()
	select {
	case batch := <-b.batches:
		return batch
	case <-time.After(time.Minute):
		b.t.Fatal("no batch came")
		return events.SQSEvent{}
	}
}

// eventually waits for the queue to hold that many messages, hidden or not.
func (b *queueBundle) eventually(want int) {
	b.t.Helper()
	b.until("holds", want, "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
}

// until waits for the sum of some of the queue's attributes.
func (b *queueBundle) until(does string, want int, attributes ...string) {
	b.t.Helper()
	end := time.After(time.Minute)
	for {
		answer, err := b.queues.GetQueueAttributes(b.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &b.url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
		if err != nil {
			b.t.Fatal(err)
		}
		got := 0
		for _, name := range attributes {
			n, _ := strconv.Atoi(answer.Attributes[name])
			got += n
		}
		if got == want {
			return
		}
		select {
		case <-end:
			b.t.Fatalf("the queue %s %d messages, want %d", does, got, want)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestQueue_DeletesOnlyTheMessagesThatTheFunctionHandled(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var failed []string
	b := setupQueue(t, map[string]string{"VisibilityTimeout": "1"}, nil, func(batch events.SQSEvent) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		var response events.SQSEventResponse
		for _, record := range batch.Records {
			switch {
			case record.Body == "crash" && len(failed) == 0:
				failed = append(failed, record.Body)
				return nil, errors.New("crashed")
			case record.Body == "report" && !slices.Contains(failed, "report"):
				failed = append(failed, record.Body)
				response.BatchItemFailures = append(response.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: record.MessageId})
			}
		}
		return json.Marshal(response)
	})
	b.send("crash")
	crashed := b.next().Records[0]
	if again := b.next().Records[0]; again.MessageId != crashed.MessageId || again.Attributes["ApproximateReceiveCount"] != "2" {
		t.Errorf("got %+v after the crash", again)
	}
	b.eventually(0)
	b.send("report", "fine")
	counts := map[string]int{}
	for counts["report"] < 2 || counts["fine"] < 1 {
		for _, record := range b.next().Records {
			counts[record.Body]++
		}
	}
	b.eventually(0)
	if counts["fine"] != 1 {
		t.Errorf("got %v", counts)
	}
}

func TestQueue_ResponseWithAnUnknownMessageFailsTheBatch(t *testing.T) {
	t.Parallel()
	b := setupQueue(t, map[string]string{"VisibilityTimeout": "1"}, nil, func(events.SQSEvent) ([]byte, error) {
		return []byte(`{"batchItemFailures":[{"itemIdentifier":"unknown"}]}`), nil
	})
	b.send("m")
	b.next()
	b.next()
	b.eventually(1)
}

func TestQueue_DisabledMappingStopsAfterTheReceivedMessages(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := setupQueue(t, nil, nil, func(events.SQSEvent) ([]byte, error) {
		<-release
		return []byte("{}"), nil
	})
	b.send("under way")
	b.next()
	set := func(enabled bool) {
		if _, err := b.lambda.UpdateEventSourceMapping(t.Context(), &lambda.UpdateEventSourceMappingInput{UUID: &b.uid, Enabled: &enabled}); err != nil {
			t.Fatal(err)
		}
	}
	set(false)
	// It looks every second which mappings there are, and receives for one second.
	select {
	case batch := <-b.batches:
		t.Errorf("got %v", batch)
	case <-time.After(3 * time.Second):
	}
	b.send("later")
	close(release)
	b.eventually(1)
	set(true)
	if got := b.next().Records[0].Body; got != "later" {
		t.Errorf("got %q", got)
	}
	b.eventually(0)
}

func TestQueue_BoundsConcurrencyAndKeepsTheOrderOfGroups(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	running, most := 0, 0
	var order []string
	b := setupQueue(t, map[string]string{"FifoQueue": "true", "VisibilityTimeout": "30"}, &types.ScalingConfig{MaximumConcurrency: aws.Int32(2)},
		func(batch events.SQSEvent) ([]byte, error) {
			mu.Lock()
			running++
			most = max(most, running)
			for _, record := range batch.Records {
				order = append(order, record.Attributes["MessageGroupId"]+record.Body)
			}
			mu.Unlock()
			time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the work of the function
			mu.Lock()
			defer mu.Unlock()
			running--
			return []byte("{}"), nil
		})
	const messages = 60
	for i := range messages {
		_, err := b.queues.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: &b.url, MessageBody: aws.String(strconv.Itoa(i)), MessageDeduplicationId: aws.String(strconv.Itoa(i)),
			MessageGroupId: aws.String([]string{"a", "b", "c"}[i%3]),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	b.eventually(0)
	mu.Lock()
	defer mu.Unlock()
	if most > 2 || len(order) != messages {
		t.Errorf("%d batches at the same time, %d messages", most, len(order))
	}
	last := map[byte]int{'a': -3, 'b': -2, 'c': -1}
	for _, one := range order {
		i, err := strconv.Atoi(one[1:])
		if err != nil || i != last[one[0]]+3 {
			t.Errorf("%s came after %d", one, last[one[0]])
		}
		last[one[0]] = i
	}
}

func TestQueue_ThrottledBatchComesBackWithItsReceiveCounted(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var began time.Time
	b := setupQueue(t, map[string]string{"VisibilityTimeout": "2"}, nil, func(batch events.SQSEvent) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		if began.IsZero() {
			began = time.Now()
		}
		if time.Since(began) < 3*time.Second { // longer than the messages of the first receive stay hidden
			return nil, &hosted.ThrottledError{}
		}
		return []byte("{}"), nil
	})
	b.send("m")
	receives := map[string]int{}
	for receives["2"] == 0 {
		receives[b.next().Records[0].Attributes["ApproximateReceiveCount"]]++
	}
	if receives["1"] < 2 {
		t.Errorf("the throttled batch was tried %d times before it came back", receives["1"])
	}
	b.eventually(0)
}

func TestQueue_ReceivesABatchBeforeARunIsFree(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := setupQueue(t, map[string]string{"VisibilityTimeout": "600"}, &types.ScalingConfig{MaximumConcurrency: aws.Int32(2)},
		func(events.SQSEvent) ([]byte, error) {
			<-release
			return []byte("{}"), nil
		})
	// Each batch is received before the next message is sent.
	for i := range 2 {
		b.send(strconv.Itoa(i))
		b.next()
	}
	b.send("waits")
	b.hidden(3)
	select {
	case batch := <-b.batches:
		t.Errorf("got %v beyond the mapping's concurrency", batch)
	default:
	}
	close(release)
	if got := b.next().Records[0].Body; got != "waits" {
		t.Errorf("got %q", got)
	}
	b.eventually(0)
}

// hidden waits for the queue to hide that many messages.
func (b *queueBundle) hidden(want int) {
	b.t.Helper()
	b.until("hides", want, "ApproximateNumberOfMessagesNotVisible")
}

// A mapping may be gone while a receive for it is under way.
func TestQueue_GivesBackWhatIsReceivedForAMappingThatIsGone(t *testing.T) {
	t.Parallel()
	b := setupQueue(t, map[string]string{"VisibilityTimeout": "900"}, nil, func(events.SQSEvent) ([]byte, error) { return []byte("{}"), nil })
	asked := make(chan struct{}, 100)
	stops.Store(b.uid, asked)
	b.send("m")
	<-asked
	<-asked // the message has come again, long before its visibility timeout
	if len(b.batches) > 0 {
		t.Errorf("got %v", <-b.batches)
	}
	stops.Delete(b.uid)
	if got := b.next().Records[0].Body; got != "m" {
		t.Errorf("got %q", got)
	}
}

func TestQueue_ReportsAQueueThatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := setupQueue(t, nil, nil, func(events.SQSEvent) ([]byte, error) { return []byte("{}"), nil })
	b.send("m")
	b.next()
	b.reported("OK")
	if _, err := b.queues.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &b.url}); err != nil {
		t.Fatal(err)
	}
	b.reported("PROBLEM: ")
}

// reported waits for the mapping to report a processing result that begins so.
func (b *queueBundle) reported(want string) {
	b.t.Helper()
	end := time.After(time.Minute)
	for {
		got, _ := results.Load(b.uid)
		if text, ok := got.(string); ok && strings.HasPrefix(text, want) {
			return
		}
		select {
		case <-end:
			b.t.Fatalf("the mapping reports %v, want %s", got, want)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
