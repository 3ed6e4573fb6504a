package mapping_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/mapping"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
)

// consumer is the function behind the deployed mapping of the Triggers stream.
type consumer struct {
	mu       sync.Mutex
	seen     []string // names of the triggers, as the records came
	failures map[string]int
	broken   int   // how often a batch with c still crashes
	crashed  []int // the sizes of the batches that crashed
	news     chan struct{}
}

func (c *consumer) invoke(_ context.Context, _ string, payload []byte) ([]byte, error) {
	var batch events.DynamoDBEvent
	if err := json.Unmarshal(payload, &batch); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.news <- struct{}{} }()
	var images []trigger.Trigger
	for _, record := range batch.Records {
		image, err := store.TriggerFromImage(record.Change.NewImage)
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	if c.broken > 0 && slices.ContainsFunc(images, func(image trigger.Trigger) bool { return image.Name == "c" }) {
		c.broken--
		c.crashed = append(c.crashed, len(images))
		return nil, errors.New("crashed")
	}
	var response events.DynamoDBEventResponse
	for i, record := range batch.Records {
		image := images[i]
		c.seen = append(c.seen, image.Name)
		if c.failures[image.Name] > 0 {
			c.failures[image.Name]--
			response.BatchItemFailures = append(response.BatchItemFailures, events.DynamoDBBatchItemFailure{ItemIdentifier: record.Change.SequenceNumber})
			break
		}
	}
	return json.Marshal(response)
}

// It runs alone: its poller polls all mappings that there are.
func TestStream_DeliversInOrderSplitsAndRetriesFromTheFirstFailure(t *testing.T) {
	cfg, env := mototest.Config(t), mototest.Environment(t, "reconcile")
	db := dynamodb.NewFromConfig(cfg)
	put := func(name string) {
		row := map[string]types.AttributeValue{
			"id": &types.AttributeValueMemberS{Value: uuid.NewString()}, "name": &types.AttributeValueMemberS{Value: name},
			"generation": &types.AttributeValueMemberN{Value: "1"}, "tags": &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberS{Value: "t"}}},
			"sealed_secret": &types.AttributeValueMemberB{Value: []byte{1, 2}}, "status": &types.AttributeValueMemberS{Value: string(trigger.Creating)},
		}
		if _, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(env["TRIGGERS_TABLE"]), Item: row}); err != nil {
			t.Fatal(err)
		}
	}
	c := &consumer{failures: map[string]int{"b": 2}, broken: 2, news: make(chan struct{}, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	poller := mapping.Poller{
		Lambda: lambda.NewFromConfig(cfg), Streams: dynamodbstreams.NewFromConfig(cfg), Queues: sqs.NewFromConfig(cfg), Invoke: c.invoke,
		DeadLetter: func(context.Context, string, string) error { return errors.New("nothing is given up here") },
	}
	for _, name := range []string{"a", "b", "c"} { // before it polls: from the horizon on
		put(name)
	}
	go func() {
		defer close(done)
		poller.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	put("d")
	deadline := time.After(time.Minute)
	for {
		c.mu.Lock()
		seen, crashed := slices.Clone(c.seen), slices.Clone(c.crashed)
		c.mu.Unlock()
		if slices.Contains(seen, "d") {
			// A batch that crashes is split and delivers nothing; b comes back twice, and with it
			// what follows.
			if len(crashed) != 2 || crashed[0] <= crashed[1] {
				t.Errorf("batches of %v records crashed, want smaller ones each time", crashed)
			}
			if got := slices.Compact(seen); !slices.Equal(got, []string{"a", "b", "c", "d"}) || len(seen) != 6 {
				t.Errorf("got %v", seen)
			}
			return
		}
		select {
		case <-c.news:
		case <-deadline:
			t.Fatalf("got %v", seen)
		}
	}
}
