package batch

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

// API is the part of the SQS client that [Messages] uses.
type API interface {
	ChangeMessageVisibilityBatch(context.Context, *sqs.ChangeMessageVisibilityBatchInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
	DeleteMessageBatch(context.Context, *sqs.DeleteMessageBatchInput, ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
}

// batchSize is the largest number of messages in one call of SQS.
const batchSize = 10

// Messages deletes received messages of one queue and changes their visibility timeouts.
// A receipt handle identifies a message.
type Messages struct {
	Client API
	URL    string
}

// Visibility is a message's new visibility timeout.
type Visibility struct {
	Receipt string
	// For is the timeout from now on, rounded up to whole seconds.
	For time.Duration
}

// ChangeVisibility changes the visibility timeouts of as many messages as it can. It ignores
// messages that no longer exist.
func (m Messages) ChangeVisibility(ctx context.Context, messages []Visibility) error {
	return inBatches(messages, func(batch []Visibility) error {
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
		return entryErrors("changing the visibility of", m.URL, answer.Failed)
	})
}

// Delete deletes as many messages as it can. It ignores messages that no longer exist.
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
		return entryErrors("deleting", m.URL, answer.Failed)
	})
}

// inBatches splits the items into batches that SQS accepts, processes all batches at the
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

// entryErrors returns the error of a batch's entries. It ignores receipt handles that have
// become invalid, because their messages no longer exist.
func entryErrors(doing, queueURL string, entries []types.BatchResultErrorEntry) error {
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
