package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/batch"
	"containertriggers/shared/platform/backoff"
	"containertriggers/shared/source"
)

// changes is the queue of triggers whose event source mappings must change. The records of
// a stream go on while a change waits there for Lambda, or for its turn. At most two runs
// receive from the queue at the same time, each of which keeps the pace.
type changes struct {
	client *sqs.Client
	url    string
	pace   *eventsource.Pace
}

// change is a message of the queue.
type change struct {
	TriggerID string `json:"trigger_id"`
}

// send queues a trigger. A trigger may be in the queue more than once.
func (c changes) send(ctx context.Context, triggerID string) error {
	body, err := json.Marshal(change{triggerID})
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	if _, err := c.client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &c.url, MessageBody: aws.String(string(body))}); err != nil {
		return fmt.Errorf("queuing trigger %s: %w", triggerID, err)
	}
	return nil
}

// handleMessages changes the mappings of a batch of triggers. A message stays in the queue
// until its trigger needs it no more, and comes back after 1, 2, 4 … seconds. After many
// receives the queue gives it up; sweep then finds the trigger.
func (f function) handleMessages(ctx context.Context, messages events.SQSEvent) events.SQSEventResponse {
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		later   []batch.Visibility
	)
	response := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for _, message := range messages.Records {
		running.Go(func() {
			err := f.handleMessage(ctx, message)
			if err == nil {
				return
			}
			slog.InfoContext(ctx, "a mapping is not changed yet", "message", message.Body, "reason", err)
			mu.Lock()
			defer mu.Unlock()
			later = append(later, batch.Visibility{Receipt: message.ReceiptHandle, For: backoff.Delay(receives(message), 0)})
			response.BatchItemFailures = append(response.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: message.MessageId})
		})
	}
	running.Wait()
	if err := (batch.Messages{Client: f.changes.client, URL: f.changes.url}).ChangeVisibility(ctx, later); err != nil {
		slog.WarnContext(ctx, "messages come back after their visibility timeout", "error", err)
	}
	if err := f.changes.pace.Rest(ctx); err != nil {
		slog.WarnContext(ctx, "the run had no time to keep its pace", "error", err)
	}
	return response
}

// handleMessage reconciles a trigger, with its mapping. It returns an error if the message
// must come back.
func (f function) handleMessage(ctx context.Context, message events.SQSMessage) error {
	var of change
	if err := json.Unmarshal([]byte(message.Body), &of); err != nil {
		return fmt.Errorf("reading the message: %w", err)
	}
	current, err := f.triggers.Get(ctx, of.TriggerID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	err = f.reconcile(ctx, current, f.queues)
	if errors.Is(err, source.ErrHandedOver) {
		logPending(ctx, current, err)
		return nil
	}
	return err
}

// receives returns how often a message was received, including this time.
func receives(message events.SQSMessage) int {
	n, err := strconv.Atoi(message.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	if err != nil {
		return 1
	}
	return n
}
