package mapping

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

const (
	// initialConcurrency is the number of batches that Lambda delivers at the same time at
	// first if the mapping has no limit. Lambda scales up from there; this poller does not.
	initialConcurrency = 5
	// maxConcurrency is the limit of this poller, for the sake of the machine.
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
	// reported takes the mapping's LastProcessingResult; it may be nil.
	reported func(uuid, result string)
	// polls reports whether the mapping still counts; it may be nil.
	polls func(uuid string) bool
}

// run receives until polling ends, and delivers the received messages until ctx ends. As on
// AWS, a message stays hidden for the queue's visibility timeout, and is deleted if the
// function succeeds. A failed batch comes back. Lambda's pollers receive before a run is
// free, so run has one batch waiting while the mapping's concurrency is used up.
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
	var found *place
	for polling.Err() == nil {
		if found == nil {
			if found, err = q.find(polling, source.Resource); err != nil {
				q.problem(polling, "the mapped queue cannot be read", err)
				pause(polling, longestPause)
				continue
			}
		}
		received, err := q.client.ReceiveMessage(polling, &sqs.ReceiveMessageInput{
			QueueUrl: &found.url, MaxNumberOfMessages: min(aws.ToInt32(q.mapping.BatchSize), maxReceive), WaitTimeSeconds: longPoll,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
			MessageAttributeNames:       []string{"All"},
		})
		if err != nil {
			q.problem(polling, "receiving failed", err)
			found = nil
			pause(polling, firstRetryPause)
			continue
		}
		if len(received.Messages) == 0 {
			q.report("No records processed")
			continue
		}
		if q.polls != nil && !q.polls(aws.ToString(q.mapping.UUID)) {
			q.giveBack(ctx, found.url, received.Messages)
			pause(polling, firstRetryPause)
			continue
		}
		q.report("OK")
		// After that time the messages belong to the next receiver.
		batchCtx, cancel := context.WithTimeout(ctx, found.visibility)
		select {
		case slots <- struct{}{}:
		case <-batchCtx.Done():
			cancel()
			q.complain(ctx, "a batch waited too long and comes back", batchCtx.Err())
			continue
		}
		from := found.url // found changes while the batch is delivered
		work.Go(func() {
			defer func() {
				cancel()
				<-slots
			}()
			if err := q.deliver(ctx, batchCtx, &from, received.Messages, source.Region); err != nil {
				q.complain(ctx, "a batch failed and comes back", err)
			}
		})
	}
}

// giveBack shows messages again that were received for a mapping that is no longer polled.
func (q queue) giveBack(ctx context.Context, url string, messages []types.Message) {
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(messages))
	for i, message := range messages {
		entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{Id: message.MessageId, ReceiptHandle: message.ReceiptHandle}
	}
	if _, err := q.client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url, Entries: entries}); err != nil {
		q.complain(ctx, "messages stay hidden for their visibility timeout", err)
	}
}

// place is the address of a queue, and the time for which the messages of a batch stay
// hidden.
type place struct {
	url        string
	visibility time.Duration
}

func (q queue) find(ctx context.Context, name string) (*place, error) {
	found, err := q.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		return nil, fmt.Errorf("looking up %s: %w", name, err)
	}
	attributes, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: found.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameVisibilityTimeout},
	})
	if err != nil {
		return nil, fmt.Errorf("describing %s: %w", name, err)
	}
	seconds, err := strconv.Atoi(attributes.Attributes[string(types.QueueAttributeNameVisibilityTimeout)])
	if err != nil {
		return nil, fmt.Errorf("describing %s: %w", name, err)
	}
	return &place{*found.QueueUrl, time.Duration(seconds) * time.Second}, nil
}

// problem complains, and reports an error of SQS as the mapping's LastProcessingResult.
func (q queue) problem(ctx context.Context, what string, err error) {
	q.complain(ctx, what, err)
	if refusal, ok := errors.AsType[smithy.APIError](err); ok {
		q.report("PROBLEM: " + refusal.ErrorCode() + ": " + refusal.ErrorMessage())
	}
}

func (q queue) report(result string) {
	if q.reported != nil {
		q.reported(aws.ToString(q.mapping.UUID), result)
	}
}

// invokeUntil invokes the function, and tries again as long as the function is throttled.
// Lambda does so until the batch's visibility timeout ends, after which the messages
// come back, with their receive counted (Lambda Developer Guide, "Handling errors for an SQS
// event source in Lambda", section "Backoff strategy for failed invocations").
func (q queue) invokeUntil(ctx, end context.Context, payload []byte) ([]byte, error) {
	for wait := firstRetryPause; ; wait = min(2*wait, longestPause) {
		answer, err := q.invoke(ctx, aws.ToString(q.mapping.FunctionArn), payload)
		if !throttled(err) {
			return answer, err
		}
		if pause(end, wait); end.Err() != nil {
			return nil, fmt.Errorf("the function is throttled for too long: %w", err)
		}
	}
}

// deliver passes a batch to the function and deletes the messages that the function does not
// report as failed. After end it no longer begins an invocation.
func (q queue) deliver(ctx, end context.Context, queueURL *string, messages []types.Message, region string) error {
	payload, err := q.event(messages, region)
	if err != nil {
		return err
	}
	answered := make(chan error, 1)
	var answer []byte
	go func() {
		var err error
		answer, err = q.invokeUntil(ctx, end, payload)
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
		slog.ErrorContext(ctx, what, "source", strings.TrimPrefix(aws.ToString(q.mapping.EventSourceArn), "arn:aws:"), "error", err) //nolint:sloglint // each caller passes a constant
	}
}
