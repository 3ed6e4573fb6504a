package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"golang.org/x/sync/errgroup"

	"containertriggers/shared/delivery"
	"containertriggers/shared/invoke"
	"containertriggers/shared/lifecycle"
	"containertriggers/shared/queue"
	"containertriggers/shared/trigger"
)

// recordTime is kept of the run to settle the messages and to record how it went.
const recordTime = 3 * time.Second

// function calls the container of an SQS trigger for each message of a batch.
type function struct {
	targets  *targets
	messages queue.API
	bus      lifecycle.Bus
	caller   *invoke.Caller
}

// handle delivers a batch, which is of one queue. It answers which messages are
// not delivered; Lambda deletes the others. An error gives all of them back.
func (f function) handle(ctx context.Context, batch events.SQSEvent) (events.SQSEventResponse, error) {
	if len(batch.Records) == 0 {
		return events.SQSEventResponse{}, nil
	}
	began := time.Now()
	queueARN := batch.Records[0].EventSourceARN
	log := slog.With("queue", queueARN)
	if run, ok := lambdacontext.FromContext(ctx); ok {
		log = log.With("request_id", run.AwsRequestID)
	}
	messages := make([]delivery.Message, len(batch.Records))
	for i, record := range batch.Records {
		messages[i] = message(record)
	}

	to, err := f.targets.of(ctx, queueARN)
	if errors.Is(err, errNoTarget) {
		// They stay hidden for the queue's visibility timeout, by when the mapping is
		// gone or somebody else has it.
		log.InfoContext(ctx, "nothing is delivered", "reason", err, "messages", len(messages))
		return report(messages), nil
	}
	if err != nil {
		return events.SQSEventResponse{}, err
	}
	log = log.With("trigger_id", to.Trigger.ID)

	if deadline, ok := ctx.Deadline(); ok {
		end := deadline.Add(-recordTime)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, end, timeOver(end.Sub(began)))
		defer cancel()
	}
	result := delivery.Delivery{
		Messages: queue.Messages{Client: f.messages, URL: to.claim.QueueURL},
		Call: func(ctx context.Context, event invoke.Event) error {
			return to.Call(ctx, f.caller, event)
		},
	}.Deliver(ctx, messages)

	f.conclude(ctx, log, to, result)
	log.InfoContext(ctx, "called the container", "delivered", len(result.Delivered), "refused", len(result.Refused),
		"untried", len(result.Untried), "message", result.Failure, "latency_ms", time.Since(began).Milliseconds())
	return report(append(result.Refused, result.Untried...)), nil
}

// timeOver is what the owner reads where the run was too short for the container.
func timeOver(run time.Duration) invoke.TimeOver {
	text := fmt.Sprintf("the container did not answer within %.0fs, the time that was left for the call", run.Seconds())
	if run < queue.ShortRun {
		text += fmt.Sprintf(": for longer calls, raise the queue's visibility timeout to %.0fs and update the trigger", queue.LongRun.Seconds())
	}
	return invoke.TimeOver(text)
}

// conclude notes how the deliveries went: the last failure in the trigger's
// error_message, where it says something else; and an event for each message
// that the queue now moves to its dead-letter queue.
func (f function) conclude(ctx context.Context, log *slog.Logger, to claimed, result delivery.Result) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	var notes errgroup.Group
	if to.worthNoting(result) {
		notes.Go(func() error { return to.Note(ctx, f.targets.Triggers, result.Failure) })
	}
	for _, message := range result.Refused {
		if most := to.claim.MaxReceives; most > 0 && message.Receives >= most {
			notes.Go(func() error {
				return f.bus.InvocationFailed(ctx, to.Trigger, message.Event.Time, result.Failure)
			})
		}
	}
	if err := notes.Wait(); err != nil {
		// Delivering again for the record's sake would call the container again.
		log.ErrorContext(ctx, "recording the outcome failed", "error", err)
	}
}

// message reads a record of Lambda's event.
func message(record events.SQSMessage) delivery.Message {
	attributes := make(map[string]delivery.Attribute, len(record.MessageAttributes))
	for name, a := range record.MessageAttributes {
		attributes[name] = delivery.Attribute{DataType: a.DataType, String: a.StringValue, Binary: a.BinaryValue}
	}
	return delivery.NewMessage(record.MessageId, record.ReceiptHandle, record.Body, record.Attributes, attributes)
}

// report names the messages that are to come back.
func report(failed []delivery.Message) events.SQSEventResponse {
	response := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for _, message := range failed {
		response.BatchItemFailures = append(response.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: message.ID})
	}
	return response
}

// worthNoting says whether the trigger's error_message is to change. What this
// process knows of it may be some seconds old: a message that succeeds at another
// try clears it in any case.
func (c claimed) worthNoting(result delivery.Result) bool {
	if c.Trigger.Status != trigger.Ready || result.Failure == "" && len(result.Delivered) == 0 {
		return false
	}
	if result.Failure != c.ErrorMessage() {
		return true
	}
	if result.Failure != "" {
		return false
	}
	for _, message := range result.Delivered {
		if message.Receives > 1 {
			return true
		}
	}
	return false
}
