package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"
)

// API is what Messages needs of the SQS client.
type API interface {
	ChangeMessageVisibilityBatch(context.Context, *sqs.ChangeMessageVisibilityBatchInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
	DeleteMessageBatch(context.Context, *sqs.DeleteMessageBatchInput, ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
}

// batchSize is how many messages SQS takes in one call.
const batchSize = 10

// Messages are the messages of one queue that were received and not deleted yet,
// each named by its receipt handle.
type Messages struct {
	Client API
	URL    string
}

// Hidden says for how long a message is to stay hidden from now on.
type Hidden struct {
	Receipt string
	// For is rounded up to whole seconds.
	For time.Duration
}

// Hide sets for how long messages stay hidden, as many as it can. Messages that
// are gone are fine.
func (m Messages) Hide(ctx context.Context, messages []Hidden) error {
	return inBatches(messages, func(batch []Hidden) error {
		entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(batch))
		for i, message := range batch {
			entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(message.Receipt),
				VisibilityTimeout: int32(math.Ceil(message.For.Seconds())),
			}
		}
		answer, err := m.Client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &m.URL, Entries: entries})
		if err != nil {
			return fmt.Errorf("changing the visibility of messages of %s: %w", m.URL, err)
		}
		return failed("changing the visibility of", m.URL, answer.Failed)
	})
}

// Delete deletes messages, as many as it can. Messages that are gone are fine.
func (m Messages) Delete(ctx context.Context, receipts []string) error {
	return inBatches(receipts, func(batch []string) error {
		entries := make([]types.DeleteMessageBatchRequestEntry, len(batch))
		for i, receipt := range batch {
			entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(receipt)}
		}
		answer, err := m.Client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &m.URL, Entries: entries})
		if err != nil {
			return fmt.Errorf("deleting messages of %s: %w", m.URL, err)
		}
		return failed("deleting", m.URL, answer.Failed)
	})
}

// inBatches works on as many items at once as SQS takes, on all batches at the
// same time, and joins their errors.
func inBatches[T any](items []T, work func([]T) error) error {
	var group errgroup.Group
	failures := make([]error, (len(items)+batchSize-1)/batchSize)
	i := 0
	for batch := range slices.Chunk(items, batchSize) {
		failure := &failures[i]
		group.Go(func() error {
			*failure = work(batch)
			return nil
		})
		i++
	}
	return errors.Join(group.Wait(), errors.Join(failures...))
}

// failed is the error of a batch's entries; a receipt handle that is not valid
// any more is one of a message that is gone.
func failed(doing, queueURL string, entries []types.BatchResultErrorEntry) error {
	var failures []error
	for _, entry := range entries {
		switch aws.ToString(entry.Code) {
		case "ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight":
		default:
			failures = append(failures, fmt.Errorf("%s a message of %s: %s: %s", doing, queueURL, aws.ToString(entry.Code), aws.ToString(entry.Message)))
		}
	}
	return errors.Join(failures...)
}
