package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/metric"
	"containertriggers/shared/relay"
)

// function turns the events that Lambda or EventBridge Scheduler gave up into failed runs. It
// sends Trigger Run Failed for occurrences that dispatch-schedule could not tell of. What it
// cannot read goes to the dead-letter queue, and is for the operator.
type function struct {
	triggers    store.Triggers
	runs        store.Runs
	bus         lifecycle.Bus
	deadLetters relay.DeadLetters
	// stack is the dimension of the metric.
	stack string
	now   func() time.Time
}

// handle handles a batch of messages. It returns those that failed, which the queue delivers
// again.
func (f function) handle(ctx context.Context, batch events.SQSEvent) (events.SQSEventResponse, error) {
	var answer events.SQSEventResponse
	for _, message := range batch.Records {
		if err := f.giveUp(ctx, message); err != nil {
			slog.WarnContext(ctx, "the queue delivers a message again", "message_id", message.MessageId, "error", err)
			answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: message.MessageId})
		}
	}
	return answer, nil
}

// giveUp makes a failed run of the event in a message.
func (f function) giveUp(ctx context.Context, message events.SQSMessage) error {
	input, why := read(message)
	var started run.StartEvent
	if json.Unmarshal(input, &started) == nil && started.RunID != "" {
		return f.giveUpRun(ctx, started, why)
	}
	due, err := trigger.ParseOccurrence(input)
	if err != nil {
		metric.Count(ctx, "dead letter", f.stack, map[string]int{metric.DeadLetters: 1})
		return f.deadLetters.Put(ctx, relay.DeadLetter{
			Reason: why.reason + " (" + err.Error() + ")", Payload: []byte(message.Body), PayloadBytes: len(message.Body),
		})
	}
	if err := f.announce(ctx, due, why.told); err != nil {
		return err
	}
	slog.WarnContext(ctx, "an occurrence is given up", "trigger_id", due.TriggerID, "occurrence", due.Minute(), "reason", why.reason)
	return nil
}

// giveUpRun marks a run as failed that a caller asked for and dispatch-run did not end. The
// run itself is the dead letter: it keeps its request and can be replayed.
func (f function) giveUpRun(ctx context.Context, started run.StartEvent, why cause) error {
	key, ok := run.ParseID(started.RunID)
	if !ok {
		return fmt.Errorf("giving up a run: %q is not the ID of a run", started.RunID)
	}
	its, err := f.runs.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	slog.WarnContext(ctx, "a run is given up", "trigger_id", its.TriggerID, "run_id", started.RunID, "reason", why.reason)
	its.TerminatedAt, its.Message = f.now(), why.told
	return f.runs.GiveUp(ctx, its)
}

// announce marks the occurrence's run as failed, sends Trigger Run Failed and sets the
// trigger's error_message. It does nothing if dispatch-schedule has done so, or if the
// trigger is gone. The run comes last: if anything before it fails, the queue delivers the
// message again.
func (f function) announce(ctx context.Context, due trigger.Occurrence, reason string) error {
	t, err := f.triggers.Get(ctx, due.TriggerID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	its := due.Run(t)
	if found, err := f.runs.Get(ctx, its.Key); err == nil && found.State.Ended() {
		return nil
	} else if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	its.TerminatedAt, its.Message = f.now(), reason
	reason = "the occurrence of " + due.Minute() + " is given up: " + reason
	if err := errors.Join(f.triggers.SetLastError(ctx, t.ID, reason), f.bus.RunFailed(ctx, t, its, reason)); err != nil {
		return err
	}
	return f.runs.GiveUp(ctx, its)
}

// attributes of a message that EventBridge Scheduler sends (User Guide, "Configuring a
// dead-letter queue").
const (
	errorCode    = "ERROR_CODE"
	errorMessage = "ERROR_MESSAGE"
)

// cause says why an event was given up: told to the owner of the trigger, and reason to the
// operator. What the service itself failed on is none of the owner's business.
type cause struct{ told, reason string }

// read returns the input of the function in a message, and why it was given up. Lambda
// sends a record of the invocation (Developer Guide, "Capturing records of Lambda asynchronous
// invocations"). Scheduler sends the input, with the reason in attributes.
func read(message events.SQSMessage) (input json.RawMessage, why cause) {
	var record struct {
		RequestContext  struct{ Condition string }
		RequestPayload  json.RawMessage
		ResponsePayload struct{ ErrorMessage string }
	}
	if json.Unmarshal([]byte(message.Body), &record) == nil && record.RequestContext.Condition != "" {
		if record.RequestContext.Condition == "EventAgeExceeded" {
			const waited = "it waited too long for a free run of the service"
			return record.RequestPayload, cause{waited, waited}
		}
		const failed = "the service failed"
		return record.RequestPayload, cause{failed, cmp.Or(record.ResponsePayload.ErrorMessage, failed)}
	}
	why.told = "EventBridge Scheduler could not invoke the service"
	why.reason = why.told
	for _, name := range []string{errorCode, errorMessage} {
		if value := message.MessageAttributes[name].StringValue; value != nil {
			why.reason += ": " + *value
		}
	}
	return json.RawMessage(message.Body), why
}
