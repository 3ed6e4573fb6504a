// Package mapping plays Lambda's event source mappings: it polls what the
// emulator says is mapped and hands it to functions in batches, as Lambda does.
package mapping

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streams "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const (
	// idlePause is how long a poller waits where there was nothing.
	idlePause = 100 * time.Millisecond
	// The pauses between the tries of a failing batch.
	firstRetryPause = 200 * time.Millisecond
	longestPause    = 10 * time.Second
)

// invokeFunc runs a function, named by its ARN, and waits for its answer.
type invokeFunc func(ctx context.Context, function string, payload []byte) ([]byte, error)

// stream polls one mapped table stream, whose one shard moto keeps for ever.
type stream struct {
	client     *dynamodbstreams.Client
	mapping    lambdatypes.EventSourceMappingConfiguration
	invoke     invokeFunc
	deadLetter func(ctx context.Context, arn, payload string) error
}

// run polls until ctx ends.
func (s stream) run(ctx context.Context) {
	var iterator *string
	for ctx.Err() == nil {
		if iterator == nil {
			var err error
			if iterator, err = s.begin(ctx); err != nil {
				s.complain(ctx, "opening the stream failed", err)
				pause(ctx, longestPause)
				continue
			}
		}
		page, err := s.client.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{
			ShardIterator: iterator, Limit: s.mapping.BatchSize,
		})
		if err != nil {
			s.complain(ctx, "reading the stream failed", err)
			pause(ctx, firstRetryPause)
			continue
		}
		if len(page.Records) > 0 {
			s.deliver(ctx, page.Records)
		} else {
			pause(ctx, idlePause)
		}
		iterator = page.NextShardIterator
	}
}

func (s stream) begin(ctx context.Context) (*string, error) {
	described, err := s.client.DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: s.mapping.EventSourceArn})
	if err != nil {
		return nil, fmt.Errorf("describing the stream: %w", err)
	}
	if len(described.StreamDescription.Shards) != 1 {
		return nil, fmt.Errorf("the stream has %d shards, and the local cloud reads one", len(described.StreamDescription.Shards))
	}
	iterator, err := s.client.GetShardIterator(ctx, &dynamodbstreams.GetShardIteratorInput{
		StreamArn: s.mapping.EventSourceArn, ShardId: described.StreamDescription.Shards[0].ShardId,
		ShardIteratorType: streams.ShardIteratorType(s.mapping.StartingPosition),
	})
	if err != nil {
		return nil, fmt.Errorf("getting a shard iterator: %w", err)
	}
	return iterator.ShardIterator, nil
}

func (s stream) complain(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		slog.Error(what, "source", aws.ToString(s.mapping.EventSourceArn), "error", err)
	}
}

// deliver hands records over until the function has taken them all, or the
// retries of the mapping are used up. The function may report where it failed;
// what lies before that is done.
func (s stream) deliver(ctx context.Context, records []streams.Record) {
	wait := firstRetryPause
	for tries := int32(0); ctx.Err() == nil; tries++ {
		payload, err := s.event(records)
		if err != nil {
			s.complain(ctx, "encoding records failed", err)
			return
		}
		answer, err := s.invoke(ctx, aws.ToString(s.mapping.FunctionArn), payload)
		if err == nil {
			failed := firstFailure(records, answer)
			if failed == len(records) {
				return
			}
			if failed > 0 {
				tries = 0
			}
			records = records[failed:]
		}
		if most := s.mapping.MaximumRetryAttempts; most != nil && *most >= 0 && tries >= *most {
			s.giveUp(ctx, records)
			return
		}
		pause(ctx, wait)
		wait = min(2*wait, longestPause)
	}
}

// firstFailure is the index of the first record that the function reports as
// failed; the number of records where there is none.
func firstFailure(records []streams.Record, answer []byte) int {
	var response events.DynamoDBEventResponse
	if json.Unmarshal(answer, &response) != nil {
		return len(records) // a function need not answer anything
	}
	failed := map[string]bool{}
	for _, failure := range response.BatchItemFailures {
		failed[failure.ItemIdentifier] = true
	}
	for i, record := range records {
		if failed[aws.ToString(record.Dynamodb.SequenceNumber)] {
			return i
		}
	}
	return len(records)
}

// giveUp puts a record of the failed batch into the on-failure destination. As
// on AWS, it says where the records are, not what is in them.
func (s stream) giveUp(ctx context.Context, records []streams.Record) {
	destination := s.mapping.DestinationConfig
	if destination == nil || destination.OnFailure == nil {
		return
	}
	first, last := records[0].Dynamodb, records[len(records)-1].Dynamodb
	body, err := json.Marshal(map[string]any{
		"version":        "1.0",
		"timestamp":      time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"requestContext": map[string]any{"functionArn": aws.ToString(s.mapping.FunctionArn), "condition": "RetryAttemptsExhausted"},
		"DDBStreamBatchInfo": map[string]any{
			"streamArn": aws.ToString(s.mapping.EventSourceArn), "batchSize": len(records),
			"startSequenceNumber": first.SequenceNumber, "endSequenceNumber": last.SequenceNumber,
		},
	})
	if err == nil {
		err = s.deadLetter(ctx, aws.ToString(destination.OnFailure.Destination), string(body))
	}
	if err != nil {
		s.complain(ctx, "the on-failure destination did not take the record", err)
	}
}

// event is a batch as Lambda's DynamoDB event.
func (s stream) event(records []streams.Record) ([]byte, error) {
	list := make([]map[string]any, len(records))
	for i, record := range records {
		change := map[string]any{
			"Keys": image(record.Dynamodb.Keys), "SequenceNumber": record.Dynamodb.SequenceNumber,
			"SizeBytes": aws.ToInt64(record.Dynamodb.SizeBytes), "StreamViewType": record.Dynamodb.StreamViewType,
			"ApproximateCreationDateTime": aws.ToTime(record.Dynamodb.ApproximateCreationDateTime).Unix(),
		}
		if record.Dynamodb.NewImage != nil {
			change["NewImage"] = image(record.Dynamodb.NewImage)
		}
		if record.Dynamodb.OldImage != nil {
			change["OldImage"] = image(record.Dynamodb.OldImage)
		}
		list[i] = map[string]any{
			"eventID": record.EventID, "eventName": record.EventName, "eventVersion": "1.1",
			"eventSource": "aws:dynamodb", "awsRegion": strings.Split(aws.ToString(s.mapping.EventSourceArn), ":")[3],
			"eventSourceARN": s.mapping.EventSourceArn, "dynamodb": change,
		}
	}
	payload, err := json.Marshal(map[string]any{"Records": list})
	if err != nil {
		return nil, fmt.Errorf("encoding a batch: %w", err)
	}
	return payload, nil
}

// image is an item in DynamoDB's JSON.
func image(item map[string]streams.AttributeValue) map[string]any {
	attributes := make(map[string]any, len(item))
	for name, value := range item {
		attributes[name] = attribute(value)
	}
	return attributes
}

func attribute(value streams.AttributeValue) map[string]any {
	switch v := value.(type) {
	case *streams.AttributeValueMemberS:
		return map[string]any{"S": v.Value}
	case *streams.AttributeValueMemberN:
		return map[string]any{"N": v.Value}
	case *streams.AttributeValueMemberB:
		return map[string]any{"B": v.Value}
	case *streams.AttributeValueMemberBOOL:
		return map[string]any{"BOOL": v.Value}
	case *streams.AttributeValueMemberSS:
		return map[string]any{"SS": v.Value}
	case *streams.AttributeValueMemberNS:
		return map[string]any{"NS": v.Value}
	case *streams.AttributeValueMemberBS:
		return map[string]any{"BS": v.Value}
	case *streams.AttributeValueMemberM:
		return map[string]any{"M": image(v.Value)}
	case *streams.AttributeValueMemberL:
		elements := make([]any, len(v.Value))
		for i, element := range v.Value {
			elements[i] = attribute(element)
		}
		return map[string]any{"L": elements}
	}
	return map[string]any{"NULL": true}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
