package mapping

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	// initialConcurrency is how many batches Lambda works on at the same time where
	// the mapping does not say; it goes up from there, which this poller does not.
	initialConcurrency = 5
	// maxConcurrency is what this machine is spared beyond.
	maxConcurrency = 10
	// maxReceive is how many messages SQS gives at once.
	maxReceive = 10
	// longPoll is how long a receive waits for a message, in seconds.
	longPoll = 1
)

// queue polls one mapped queue.
type queue struct {
	client  *sqs.Client
	mapping lambdatypes.EventSourceMappingConfiguration
	invoke  invokeFunc
}

// run receives until polling ends, and hands what it received to the function even
// then, until ctx ends. As on AWS, a message stays hidden for the queue's
// visibility timeout and is deleted when the function has taken it; a failing
// batch simply comes back.
func (q queue) run(ctx, polling context.Context) {
	source, err := arn.Parse(aws.ToString(q.mapping.EventSourceArn))
	if err != nil {
		q.complain(ctx, "the source is not an ARN", err)
		return
	}
	concurrency := initialConcurrency
	if scaling := q.mapping.ScalingConfig; scaling != nil && scaling.MaximumConcurrency != nil {
		concurrency = int(*scaling.MaximumConcurrency)
	}
	slots := make(chan struct{}, min(concurrency, maxConcurrency))
	var work sync.WaitGroup
	defer work.Wait()
	var queueURL *string
	for polling.Err() == nil {
		if queueURL == nil {
			found, err := q.client.GetQueueUrl(polling, &sqs.GetQueueUrlInput{QueueName: &source.Resource})
			if err != nil {
				q.complain(polling, "the mapped queue cannot be read", err)
				pause(polling, longestPause)
				continue
			}
			queueURL = found.QueueUrl
		}
		select {
		case slots <- struct{}{}:
		case <-polling.Done():
			return
		}
		received, err := q.client.ReceiveMessage(polling, &sqs.ReceiveMessageInput{
			QueueUrl: queueURL, MaxNumberOfMessages: min(aws.ToInt32(q.mapping.BatchSize), maxReceive), WaitTimeSeconds: longPoll,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
			MessageAttributeNames:       []string{"All"},
		})
		if err != nil {
			q.complain(polling, "receiving failed", err)
			queueURL = nil
			<-slots
			pause(polling, firstRetryPause)
			continue
		}
		if len(received.Messages) == 0 {
			<-slots
			continue
		}
		work.Go(func() {
			defer func() { <-slots }()
			if err := q.deliver(ctx, queueURL, received.Messages, source.Region); err != nil {
				q.complain(ctx, "a batch failed and comes back", err)
			}
		})
	}
}

// deliver hands a batch to the function and deletes what it does not report as
// failed.
func (q queue) deliver(ctx context.Context, queueURL *string, messages []types.Message, region string) error {
	payload, err := q.event(messages, region)
	if err != nil {
		return err
	}
	answered := make(chan error, 1)
	var answer []byte
	go func() {
		var err error
		answer, err = q.invoke(ctx, aws.ToString(q.mapping.FunctionArn), payload)
		answered <- err
	}()
	select {
	case <-ctx.Done():
		return ctx.Err() // the function is being stopped, too
	case err := <-answered:
		if err != nil {
			return err
		}
	}
	taken, err := taken(messages, answer)
	if err != nil || len(taken) == 0 {
		return err
	}
	deleted, err := q.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: queueURL, Entries: taken})
	if err != nil {
		return fmt.Errorf("deleting a batch: %w", err)
	}
	for _, failure := range deleted.Failed {
		if aws.ToString(failure.Code) != "ReceiptHandleIsInvalid" { // the function deleted it itself
			return fmt.Errorf("deleting a message: %s: %s", aws.ToString(failure.Code), aws.ToString(failure.Message))
		}
	}
	return nil
}

// taken are the messages that a function does not report as failed. Lambda takes
// a response that names an unknown message for the failure of all (Lambda
// Developer Guide, "Handling errors for an SQS event source in Lambda").
func taken(messages []types.Message, answer []byte) ([]types.DeleteMessageBatchRequestEntry, error) {
	var response events.SQSEventResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		return nil, fmt.Errorf("reading the function's response: %w", err)
	}
	failed := map[string]bool{}
	for _, failure := range response.BatchItemFailures {
		failed[failure.ItemIdentifier] = true
	}
	var entries []types.DeleteMessageBatchRequestEntry
	for _, message := range messages {
		if failed[*message.MessageId] {
			delete(failed, *message.MessageId)
			continue
		}
		entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: message.MessageId, ReceiptHandle: message.ReceiptHandle})
	}
	if len(failed) > 0 {
		return nil, fmt.Errorf("the function reports messages that it did not get: %v", failed)
	}
	return entries, nil
}

// event is a batch as Lambda's SQS event.
func (q queue) event(messages []types.Message, region string) ([]byte, error) {
	batch := events.SQSEvent{Records: make([]events.SQSMessage, len(messages))}
	for i, message := range messages {
		attributes := map[string]events.SQSMessageAttribute{}
		for name, attribute := range message.MessageAttributes {
			attributes[name] = events.SQSMessageAttribute{
				DataType: aws.ToString(attribute.DataType), StringValue: attribute.StringValue, BinaryValue: attribute.BinaryValue,
				StringListValues: []string{}, BinaryListValues: [][]byte{},
			}
		}
		batch.Records[i] = events.SQSMessage{
			MessageId: aws.ToString(message.MessageId), ReceiptHandle: aws.ToString(message.ReceiptHandle), Body: aws.ToString(message.Body),
			Md5OfBody: aws.ToString(message.MD5OfBody), Md5OfMessageAttributes: aws.ToString(message.MD5OfMessageAttributes),
			Attributes: message.Attributes, MessageAttributes: attributes,
			EventSource: "aws:sqs", EventSourceARN: aws.ToString(q.mapping.EventSourceArn), AWSRegion: region,
		}
	}
	payload, err := json.Marshal(batch)
	if err != nil {
		return nil, fmt.Errorf("encoding a batch: %w", err)
	}
	return payload, nil
}

func (q queue) complain(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		slog.Error(what, "source", strings.TrimPrefix(aws.ToString(q.mapping.EventSourceArn), "arn:aws:"), "error", err)
	}
}
