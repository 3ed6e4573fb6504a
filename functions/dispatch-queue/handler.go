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
	"golang.org/x/time/rate"

	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/queue"
	"containertriggers/shared/dispatch/batch"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/record"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/backoff"
	"containertriggers/shared/platform/metric"
)

// recordTime is reserved at the end of a run to settle messages and record the outcome.
const recordTime = 3 * time.Second

// function calls the container of an SQS trigger for each message of a batch.
type function struct {
	targets  *targets
	messages batch.API
	bus      lifecycle.Bus
	client   *invoke.Client
	recorder *record.Recorder
	// delivered limits the lines about batches without a failure. A line has the metrics of all
	// batches since the last one.
	delivered *rate.Sometimes
}

// newDelivered allows one line a minute. A line for each batch of one message would cost as much
// as delivering it.
func newDelivered() *rate.Sometimes { return &rate.Sometimes{Interval: time.Minute} }

// handle delivers a batch of one queue. It returns the messages that are not delivered;
// Lambda deletes the others. If it returns an error, all messages come back.
func (f function) handle(ctx context.Context, event events.SQSEvent) (events.SQSEventResponse, error) {
	if len(event.Records) == 0 {
		return events.SQSEventResponse{}, nil
	}
	began := time.Now()
	queueARN := event.Records[0].EventSourceARN
	log := slog.With("queue", queueARN)
	if run, ok := lambdacontext.FromContext(ctx); ok {
		log = log.With("request_id", run.AwsRequestID)
	}
	messages := make([]batch.Message, len(event.Records))
	for i, record := range event.Records {
		messages[i] = message(record)
	}

	to, err := f.targets.get(ctx, queueARN)
	switch {
	case errors.Is(err, errNoTarget):
		log.InfoContext(ctx, "no message is delivered", "reason", err, "messages", len(messages))
		return f.giveBack(ctx, queueARN, messages)
	case err != nil:
		log.ErrorContext(ctx, "the queue's trigger cannot be read", "error", err, "messages", len(messages))
		return f.giveBack(ctx, queueARN, messages)
	}
	log = log.With("trigger_id", to.Trigger.ID)

	if deadline, ok := ctx.Deadline(); ok {
		end := deadline.Add(-recordTime)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, end, deadlineCause(end.Sub(began)))
		defer cancel()
	}
	result := batch.Processor{
		Messages: batch.Messages{Client: f.messages, URL: to.claim.QueueURL},
		Call:     func(ctx context.Context, message batch.Message) error { return f.call(ctx, to, message) },
	}.Process(ctx, messages)

	f.conclude(ctx, log, to, result)
	line := func() {
		metric.Log(ctx, log, "called the container", f.recorder.Take(trigger.SourceSQS),
			slog.Int("delivered", len(result.Delivered)), slog.Int("failed", len(result.Failed)), slog.Int("skipped", len(result.Skipped)),
			slog.String("message", result.Failure), slog.Int64("latency_ms", time.Since(began).Milliseconds()))
	}
	if len(result.Failed)+len(result.Skipped) > 0 || log.Enabled(ctx, slog.LevelDebug) {
		line()
	} else {
		f.delivered.Do(line)
	}
	return report(append(result.Failed, result.Skipped...)), nil
}

// call calls the container for a message and records the call.
func (f function) call(ctx context.Context, to claimed, message batch.Message) error {
	made, err := to.Attempt(ctx, f.client, message.Event, f.targets.Now)
	f.recorder.Add(ctx, record.Call{
		Trigger: to.Trigger, Event: message.Event, Attempt: made, Repeated: message.Receives > 1, Last: to.isLast(message),
	})
	return err
}

// isLast reports whether the queue moves the message to its dead-letter queue if this
// delivery fails.
func (c claimed) isLast(message batch.Message) bool {
	most := c.claim.MaxReceives
	return most > 0 && message.Receives >= most
}

// giveBackDelay is the least time after which messages come back that no container was
// called for. Each receive counts towards the queue's maxReceiveCount, so an outage or the
// minute that Lambda takes to remove a mapping must not cost many.
const giveBackDelay = time.Minute

// giveBack gives all messages back. They come back after a delay that grows from
// giveBackDelay, and not after the queue's visibility timeout, which may be hours. Until then
// another trigger may have the queue, or the database may work again.
func (f function) giveBack(ctx context.Context, queueARN string, messages []batch.Message) (events.SQSEventResponse, error) {
	url, err := queue.URLOf(queueARN)
	if err != nil {
		return events.SQSEventResponse{}, err
	}
	hidden := make([]batch.Visibility, len(messages))
	for i, message := range messages {
		hidden[i] = batch.Visibility{Receipt: message.Receipt, For: backoff.Delay(message.Receives, giveBackDelay)}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if err := (batch.Messages{Client: f.messages, URL: url}).ChangeVisibility(ctx, hidden); err != nil {
		return events.SQSEventResponse{}, err
	}
	return report(messages), nil
}

// deadlineCause returns the error of calls that are still running after that time, which is
// all that the run has for them. It tells the owner how to get more time.
func deadlineCause(run time.Duration) invoke.DeadlineCause {
	text := fmt.Sprintf("the container did not answer within %.0fs, the time that was left for the call", run.Seconds())
	if run < queue.ShortRun {
		text += fmt.Sprintf(": for longer calls, raise the queue's visibility timeout to %.0fs and update the trigger", queue.LongRun.Seconds())
	}
	return invoke.DeadlineCause(text)
}

// conclude writes the runs of the batch, updates the trigger's error_message if the outcome
// changes it, and sends an event for each message that the queue now moves to its dead-letter
// queue.
func (f function) conclude(ctx context.Context, log *slog.Logger, to claimed, result batch.Result) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	var writes errgroup.Group
	writes.Go(func() error {
		f.recorder.Flush(ctx) // it logs what it could not write
		return nil
	})
	if result.Failure != "" && f.recorder.LeavesOut(to.Trigger.ID) {
		result.Failure += record.LeftOut
	}
	if to.changesErrorMessage(result) {
		writes.Go(func() error { return to.SetLastError(ctx, f.targets.Triggers, result.Failure) })
	}
	for _, message := range result.Failed {
		if to.isLast(message) {
			writes.Go(func() error {
				return f.bus.RunFailed(ctx, to.Trigger, record.RunOf(to.Trigger, message.Event), result.Failure)
			})
		}
	}
	if err := writes.Wait(); err != nil {
		// Returning an error would make Lambda call the container again.
		log.ErrorContext(ctx, "recording the outcome failed", "error", err)
	}
}

// message converts a record of Lambda's event.
func message(record events.SQSMessage) batch.Message {
	attributes := make(map[string]batch.Attribute, len(record.MessageAttributes))
	for name, a := range record.MessageAttributes {
		attributes[name] = batch.Attribute{DataType: a.DataType, String: a.StringValue, Binary: a.BinaryValue}
	}
	return batch.NewMessage(record.MessageId, record.ReceiptHandle, record.Body, record.Attributes, attributes)
}

// report returns Lambda's response with the failed messages, which Lambda leaves in the
// queue.
func report(failed []batch.Message) events.SQSEventResponse {
	response := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for _, message := range failed {
		response.BatchItemFailures = append(response.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: message.ID})
	}
	return response
}

// changesErrorMessage reports whether the outcome changes the trigger's error_message. The cached
// error_message may be some seconds old, so a retry that succeeds always clears it.
func (c claimed) changesErrorMessage(result batch.Result) bool {
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
