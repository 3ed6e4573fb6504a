package mapping_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
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

	"containertriggers/infra/local/mapping"
	"containertriggers/infra/local/moto/mototest"
)

// consumers are the functions behind the mapped queues, by the queue's ARN. One
// poller serves all tests: it polls all mappings that there are.
var consumers sync.Map

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
	end := time.After(time.Minute)
	for {
		answer, err := b.queues.GetQueueAttributes(b.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &b.url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
		if err != nil {
			b.t.Fatal(err)
		}
		visible, _ := strconv.Atoi(answer.Attributes["ApproximateNumberOfMessages"])
		hidden, _ := strconv.Atoi(answer.Attributes["ApproximateNumberOfMessagesNotVisible"])
		if visible+hidden == want {
			return
		}
		select {
		case <-end:
			b.t.Fatalf("the queue holds %d messages, want %d", visible+hidden, want)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestOnlyWhatTheFunctionTookIsDeleted(t *testing.T) {
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

func TestAResponseThatNamesAnUnknownMessageFailsTheBatch(t *testing.T) {
	t.Parallel()
	b := setupQueue(t, map[string]string{"VisibilityTimeout": "1"}, nil, func(events.SQSEvent) ([]byte, error) {
		return []byte(`{"batchItemFailures":[{"itemIdentifier":"unknown"}]}`), nil
	})
	b.send("m")
	b.next()
	b.next()
	b.eventually(1)
}

func TestADisabledMappingStopsAfterWhatWasReceived(t *testing.T) {
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

func TestConcurrencyIsBoundedAndGroupsKeepTheirOrder(t *testing.T) {
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
			time.Sleep(20 * time.Millisecond) // the function's work
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
