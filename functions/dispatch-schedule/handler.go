package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"golang.org/x/sync/errgroup"

	"containertriggers/shared/container"
	"containertriggers/shared/cron"
	"containertriggers/shared/invoke"
	"containertriggers/shared/lifecycle"
	"containertriggers/shared/occurrence"
	"containertriggers/shared/seal"
	"containertriggers/shared/secret"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

// eventType is the CloudEvents type of what a cron trigger sends.
const eventType = "containertriggers.cron"

const (
	// attempts is how often one delivery calls the container. Lambda delivers an
	// occurrence that failed again after one and two more minutes.
	attempts = 3
	// The pause before the second attempt, on average; the next is four times as
	// long.
	firstPause = 500 * time.Millisecond
	// longestPause bounds what a container may ask for with Retry-After.
	longestPause = 30 * time.Second
	// recordTime is kept of the run to record the outcome.
	recordTime = 10 * time.Second
)

// function calls the container of a cron trigger for one occurrence.
type function struct {
	triggers    table.Triggers
	containers  table.Containers
	invocations table.Invocations
	sealer      seal.Sealer
	bus         lifecycle.Bus
	caller      *invoke.Caller
	// maxDeliveries is how often Lambda delivers an occurrence before it puts it
	// into the dead-letter queue.
	maxDeliveries int

	now func() time.Time
	// sleep waits, or gives up with the context.
	sleep func(context.Context, time.Duration) error
}

// handle delivers the occurrence that the event tells of. An error makes Lambda
// deliver it again, and in the end keep it in the dead-letter queue.
func (f function) handle(ctx context.Context, event json.RawMessage) error {
	due, err := occurrence.Parse(event)
	if err != nil {
		return err
	}
	// Lambda's own retries have the ID of the first try.
	holder := "unknown"
	if run, ok := lambdacontext.FromContext(ctx); ok {
		holder = run.AwsRequestID
	}
	log := slog.With("trigger_id", due.TriggerID, "occurrence", due.Minute(), "request_id", holder)

	now := f.now()
	until := now.Add(container.MaxTimeout)
	if deadline, ok := ctx.Deadline(); ok {
		until = deadline
	}
	var (
		claims int
		t      trigger.Trigger
		to     container.Container
	)
	// Both at once: the call waits for one round trip.
	reads, readCtx := errgroup.WithContext(ctx)
	reads.Go(func() (err error) {
		claims, err = f.invocations.Claim(readCtx, due.TriggerID, due.Minute(), holder, now, until)
		return err
	})
	reads.Go(func() (err error) {
		t, to, err = table.Lookup(readCtx, f.triggers.Client, f.triggers.Table, f.containers.Table, due.TriggerID, due.ContainerID)
		return err
	})
	err = reads.Wait()
	switch {
	case errors.Is(err, table.ErrClaimed):
		log.InfoContext(ctx, "nothing to do: the occurrence is delivered, or another is at it")
		return nil
	case errors.Is(err, table.ErrNotFound):
		log.InfoContext(ctx, "nothing to do: the trigger or its container is gone")
		return nil
	case err != nil:
		return err
	}
	if t.Status == trigger.Deleting || !stillDue(t, due) {
		log.InfoContext(ctx, "nothing to do: the trigger was deleted or changed meanwhile")
		return nil
	}

	report, err := f.deliver(ctx, t, to, due)
	if err != nil {
		return err
	}
	if report.Outcome == table.Failed && claims >= f.maxDeliveries {
		report.Outcome = table.Exhausted
	}
	return f.conclude(ctx, log, t, due, holder, report)
}

// stillDue says whether the trigger, as it is now, is due at the occurrence's
// minute: one that was on its way while the schedule was changed is not sent.
func stillDue(t trigger.Trigger, due occurrence.Occurrence) bool {
	if t.Cron == nil {
		return false
	}
	schedule, err := cron.Parse(t.Cron.Schedule)
	if err != nil {
		return false
	}
	zone, err := cron.LoadZone(t.Cron.Timezone)
	return err == nil && schedule.Matches(due.ScheduledTime, zone)
}

// deliver calls the container until it takes the occurrence, the attempts are
// used up or the run has no time for another. The error is not the container's.
func (f function) deliver(ctx context.Context, t trigger.Trigger, to container.Container, due occurrence.Occurrence) (table.Report, error) {
	var token secret.Text
	if to.Privacy == container.Private {
		var err error
		if token, err = f.sealer.Open(ctx, container.Resource, to.ID, to.SealedToken); err != nil {
			return table.Report{}, err
		}
	}
	header := http.Header{}
	for name, value := range t.Cron.Headers {
		header.Add(name, value)
	}
	event := invoke.Event{
		ID: due.TriggerID + "/" + due.Minute(), Type: eventType, Time: due.ScheduledTime,
		Header: header, Body: []byte(t.Cron.Body),
	}

	// What is left of the run after this is for the records.
	callCtx := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		callCtx, cancel = context.WithDeadline(ctx, deadline.Add(-recordTime))
		defer cancel()
	}
	route := invoke.NewRoute(t, to, token)
	report := table.Report{Outcome: table.Failed}
	pause := firstPause
	for {
		report.Attempts++
		began := f.now()
		err := f.caller.Call(callCtx, route, event)
		report.Latency = f.now().Sub(began)
		if err == nil {
			report.Outcome, report.Message = table.Delivered, ""
			return report, nil
		}
		report.Message = err.Error()

		wait := time.Duration(rand.Int64N(int64(2 * pause)))
		if failure, ok := errors.AsType[*invoke.Failure](err); ok {
			wait = min(max(wait, failure.RetryAfter), longestPause)
		}
		pause *= 4
		// One that used up all its time would hold the run for as long again, of which
		// there are not many; Lambda's next delivery tries it.
		if report.Attempts == attempts || report.Latency >= to.Timeout || f.sleep(callCtx, wait) != nil {
			return report, nil
		}
	}
}

// conclude records how the delivery went, and tells the trigger's owner.
func (f function) conclude(ctx context.Context, log *slog.Logger, t trigger.Trigger, due occurrence.Occurrence, holder string, report table.Report) error {
	var failures []error
	if report.Message != t.ErrorMessage {
		failures = append(failures, f.triggers.NoteCall(ctx, t.ID, report.Message))
	}
	if report.Outcome == table.Exhausted {
		failures = append(failures, f.bus.InvocationFailed(ctx, t, due.ScheduledTime, report.Message))
	}
	failures = append(failures, f.invocations.Record(ctx, due.TriggerID, due.Minute(), holder, report))
	if err := errors.Join(failures...); err != nil {
		// The call was made; delivering again for the record's sake would make
		// another one.
		log.ErrorContext(ctx, "recording the outcome failed", "outcome", report.Outcome, "error", err)
	}
	log.InfoContext(ctx, "called the container", "outcome", report.Outcome, "attempts", report.Attempts,
		"latency_ms", report.Latency.Milliseconds(), "message", report.Message)
	if report.Outcome != table.Delivered {
		return fmt.Errorf("trigger %s at %s: %s", t.ID, due.Minute(), report.Message)
	}
	return nil
}
