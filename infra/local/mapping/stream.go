// Package mapping emulates Lambda's event source mappings. It polls the sources of the
// emulator's mappings and passes batches to functions, as Lambda does.
package mapping

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streams "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"containertriggers/infra/local/lambda"
)

const (
	// idlePause is the pause after a look that found no record. Lambda looks four times a
	// second (Developer Guide, "Using AWS Lambda with Amazon DynamoDB").
	idlePause = 250 * time.Millisecond
	// The pauses between the tries of a failing batch.
	firstRetryPause = 200 * time.Millisecond
	longestPause    = 10 * time.Second
)

// invokeFunc runs a function, named by its ARN, and waits for its answer.
type invokeFunc func(ctx context.Context, function string, payload []byte) ([]byte, error)

// throttled reports whether an invocation did not reach its function, because its concurrency
// did not allow it.
func throttled(err error) bool {
	_, yes := errors.AsType[*lambda.ThrottledError](err)
	return yes
}

// stream polls one mapped table stream. moto has one shard for each stream and keeps it
// forever.
type stream struct {
	client     *dynamodbstreams.Client
	mapping    lambdatypes.EventSourceMappingConfiguration
	invoke     invokeFunc
	deadLetter func(ctx context.Context, arn, payload string) error
}

// run polls until ctx ends.
func (s stream) run(ctx context.Context) {
	wanted, err := newFilter(s.mapping.FilterCriteria)
	if err != nil {
		s.complain(ctx, "the mapping's filter criteria cannot be played", err)
		return
	}
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
		if records := s.passing(page.Records, wanted); len(records) > 0 {
			s.deliver(ctx, records)
		} else if len(page.Records) == 0 {
			pause(ctx, idlePause)
		}
		iterator = page.NextShardIterator
	}
}

// passing returns the records that pass the mapping's filter.
func (s stream) passing(records []streams.Record, wanted filter) []streams.Record {
	return slices.DeleteFunc(records, func(record streams.Record) bool {
		text, err := json.Marshal(s.record(record))
		var decoded any
		return err == nil && json.Unmarshal(text, &decoded) == nil && !wanted.passes(decoded)
	})
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
		slog.ErrorContext(ctx, what, "source", aws.ToString(s.mapping.EventSourceArn), "error", err) //nolint:sloglint // each caller passes a constant
	}
}

// deliver passes records to the function until it has taken all of them, or until the
// retries of the mapping are used up. If the function reports a failed record, the records
// before it are done.
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
		} else if aws.ToBool(s.mapping.BisectBatchOnFunctionError) && len(records) > 1 {
			// Splitting costs no retry (Lambda Developer Guide, "Retaining discarded batch
			// records").
			s.deliver(ctx, records[:len(records)/2])
			s.deliver(ctx, records[len(records)/2:])
			return
		}
		if throttled(err) {
			tries-- // only failures of the function count (Lambda API reference of CreateEventSourceMapping, MaximumRetryAttempts)
		} else if most := s.mapping.MaximumRetryAttempts; most != nil && *most >= 0 && tries >= *most {
			s.giveUp(ctx, records)
			return
		}
		pause(ctx, wait)
		wait = min(2*wait, longestPause)
	}
}

// firstFailure returns the index of the first record that the function reports as failed. It
// returns the number of records if there is none.
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

// giveUp puts the position of the failed batch into the on-failure destination. As on AWS,
// it contains no data of the records.
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
		list[i] = s.record(record)
	}
	payload, err := json.Marshal(map[string]any{"Records": list})
	if err != nil {
		return nil, fmt.Errorf("encoding a batch: %w", err)
	}
	return payload, nil
}

// record is a record as it is in Lambda's DynamoDB event.
func (s stream) record(record streams.Record) map[string]any {
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
	return map[string]any{
		"eventID": record.EventID, "eventName": record.EventName, "eventVersion": "1.1",
		"eventSource": "aws:dynamodb", "awsRegion": strings.Split(aws.ToString(s.mapping.EventSourceArn), ":")[3],
		"eventSourceARN": s.mapping.EventSourceArn, "dynamodb": change,
	}
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
