package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/relay"
)

// function turns the occurrences that Lambda or EventBridge Scheduler gave up into dead
// letters. It sends Invocation Failed for those that dispatch-schedule could not tell of.
type function struct {
	triggers    store.Triggers
	runs        store.Runs
	bus         lifecycle.Bus
	deadLetters relay.DeadLetters
	now         func() time.Time
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

// giveUp keeps the occurrence of a message as a dead letter.
func (f function) giveUp(ctx context.Context, message events.SQSMessage) error {
	input, reason := read(message)
	due, err := trigger.ParseOccurrence(input)
	if err != nil {
		return f.deadLetters.Put(ctx, relay.DeadLetter{
			Reason: reason + " (" + err.Error() + ")", Payload: []byte(message.Body), PayloadBytes: len(message.Body),
		})
	}
	if err := f.announce(ctx, due, reason); err != nil {
		return err
	}
	slog.WarnContext(ctx, "an occurrence is given up", "trigger_id", due.TriggerID, "occurrence", due.Minute(), "reason", reason)
	return f.deadLetters.Put(ctx, relay.DeadLetter{
		TriggerID: due.TriggerID, Reason: reason, ID: due.EventID(), Time: due.ScheduledTime, Occurrence: input,
	})
}

// announce marks the occurrence's run as failed, sends Invocation Failed and sets the
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
	if err := errors.Join(f.triggers.SetLastError(ctx, t.ID, reason), f.bus.InvocationFailed(ctx, t, due.ScheduledTime, reason)); err != nil {
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

// read returns the input of dispatch-schedule in a message, and why it was given up. Lambda
// sends a record of the invocation (Developer Guide, "Capturing records of Lambda asynchronous
// invocations"). Scheduler sends the input, with the reason in attributes.
func read(message events.SQSMessage) (input json.RawMessage, reason string) {
	var record struct {
		RequestContext  struct{ Condition string }
		RequestPayload  json.RawMessage
		ResponsePayload struct{ ErrorMessage string }
	}
	if json.Unmarshal([]byte(message.Body), &record) == nil && record.RequestContext.Condition != "" {
		if record.RequestContext.Condition == "EventAgeExceeded" {
			return record.RequestPayload, "it waited too long for a free run of the service"
		}
		return record.RequestPayload, cmp.Or(record.ResponsePayload.ErrorMessage, "the service failed")
	}
	reason = "EventBridge Scheduler could not invoke the service"
	for _, name := range []string{errorCode, errorMessage} {
		if value := message.MessageAttributes[name].StringValue; value != nil {
			reason += ": " + *value
		}
	}
	return json.RawMessage(message.Body), reason
}
