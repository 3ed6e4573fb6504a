package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/metric"
)

const (
	// attempts is the number of calls in one delivery. If all fail, Lambda delivers the
	// occurrence again after one minute, and a third time after two more.
	attempts = 3
	// firstPause is the average pause before the second attempt. Each further pause is
	// four times as long.
	firstPause = 500 * time.Millisecond
	// longestPause limits the pause that a container may request with Retry-After.
	longestPause = 30 * time.Second
	// recordTime is reserved at the end of a run to record the outcome.
	recordTime = 10 * time.Second
)

// function calls the container of a cron trigger for one occurrence.
type function struct {
	resolver resolve.Resolver
	runs     store.Runs
	bus      lifecycle.Bus
	client   *invoke.Client
	// maxDeliveries is how often Lambda delivers an occurrence before it moves it to the
	// dead-letter queue.
	maxDeliveries int
	// stack is the dimension of the metrics.
	stack string
	// sleep waits for a pause. It returns an error if the context ends first.
	sleep func(context.Context, time.Duration) error
}

// handle delivers the occurrence in the event. If it returns an error, Lambda delivers
// the occurrence again, and moves it to the dead-letter queue after the last delivery.
func (f function) handle(ctx context.Context, event json.RawMessage) error {
	due, err := trigger.ParseOccurrence(event)
	if err != nil {
		return err
	}
	// Lambda's retries carry the request ID of the first delivery, so that a retry may take over
	// the claim. Lambda may also deliver one event twice at the same time under one request ID
	// (Developer Guide, "How Lambda handles errors and retries with asynchronous invocation").
	// Both deliveries then call the container, which the promise of at least one call allows.
	holder := "unknown"
	if run, ok := lambdacontext.FromContext(ctx); ok {
		holder = run.AwsRequestID
	}
	log := slog.With("trigger_id", due.TriggerID, "occurrence", due.Minute(), "request_id", holder)

	to, err := f.resolver.Lookup(ctx, due.TriggerID, due.ContainerID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		f.notCalled(ctx, log, "the trigger or its container does not exist")
		return nil
	case err != nil:
		return err
	case to.Trigger.Status == trigger.Deleting:
		f.notCalled(ctx, log, "the trigger is being deleted")
		return nil
	case to.Trigger.Paused():
		metric.Log(ctx, log, "no call was made", metric.Set{Stack: f.stack, Source: string(trigger.SourceCron), Counts: map[string]int{metric.RunsSkipped: 1}},
			slog.String("reason", "the trigger is paused"))
		return f.endPaused(ctx, to, due)
	case !due.Current(to.Trigger):
		return f.refuse(ctx, log, to, due)
	}
	switch passes, err := due.Passes(); {
	case err != nil:
		return err
	case !passes:
		log.InfoContext(ctx, "nothing to do: the other day field does not match", "filter", due.Filter)
		return nil
	}

	// The claim comes last. An outdated schedule must not claim the minute, because the
	// current schedule may fire in the same minute.
	now := f.resolver.Now()
	until := now.Add(container.MaxTimeout)
	if deadline, ok := ctx.Deadline(); ok {
		until = deadline
	}
	its := due.Run(to.Trigger)
	its.StartedAt = now
	claims, err := f.runs.Claim(ctx, its, store.Claim{Holder: holder, Until: until})
	if errors.Is(err, store.ErrClaimed) {
		log.InfoContext(ctx, "nothing to do: the occurrence is delivered, or another delivery holds it")
		return nil
	}
	if err != nil {
		return err
	}
	// Only a delivery that holds the claim needs the token, which may cost a call of KMS.
	if err := f.resolver.Open(ctx, to); err != nil {
		return err
	}

	report := f.deliver(ctx, to, due)
	if report.State == run.Retrying && claims >= f.maxDeliveries {
		report.State = run.Failed
	}
	switch to.Trigger.History() {
	case trigger.HistoryFailures:
		report.Hidden = report.State == run.Succeeded && claims == 1 && len(report.Attempts) == 1
	case trigger.HistoryNone:
		report.Hidden = true
	}
	return f.conclude(ctx, log, to, its, holder, report, f.metrics(its, report, claims))
}

// notCalled logs and counts an occurrence that fired without a call.
func (f function) notCalled(ctx context.Context, log *slog.Logger, reason string) {
	log.WarnContext(ctx, "no call was made", "reason", reason)
	metric.Count(ctx, "not called", f.stack, map[string]int{"NotCalled": 1})
}

// metrics returns the metrics of a delivery.
func (f function) metrics(its run.Run, report store.Report, claims int) metric.Set {
	m := metric.Set{
		Stack: f.stack, Source: string(trigger.SourceCron), Counts: map[string]int{metric.Attempts: len(report.Attempts)},
		Durations: map[string][]time.Duration{metric.AttemptDuration: nil},
	}
	for _, attempt := range report.Attempts {
		m.Durations[metric.AttemptDuration] = append(m.Durations[metric.AttemptDuration], attempt.Duration)
	}
	if claims == 1 {
		m.Durations[metric.ScheduleLag] = []time.Duration{its.StartedAt.Sub(its.ScheduledAt)}
	}
	if report.State.Ended() {
		m.Counts[metric.Runs], m.Counts[metric.RunsFailed] = 1, 0
	}
	if report.State == run.Failed {
		m.Counts[metric.RunsFailed] = 1
	}
	return m
}

// endPaused ends the run of an occurrence that failed before the pause and would be retried
// now. An occurrence that comes first during the pause has no run: resume says what becomes of it.
func (f function) endPaused(ctx context.Context, to *resolve.Target, due trigger.Occurrence) error {
	its, err := f.runs.Get(ctx, due.Run(to.Trigger).Key)
	if errors.Is(err, store.ErrNotFound) || err == nil && its.State != run.Retrying {
		return nil
	}
	if err != nil {
		return err
	}
	its.Message, its.TerminatedAt = its.Message+"; the trigger was paused before the next attempt", f.resolver.Now()
	return f.runs.GiveUp(ctx, its)
}

// propagation is how long EventBridge Scheduler may still fire a schedule that has
// changed. It invokes within a minute of the scheduled time (User Guide, "Schedule
// types").
const propagation = time.Minute

// refuse makes no call, because the schedule was made from other settings than the
// trigger's. If reconcile had the time to renew the schedule, refuse sets the trigger's
// error_message.
func (f function) refuse(ctx context.Context, log *slog.Logger, to *resolve.Target, due trigger.Occurrence) error {
	f.notCalled(ctx, log, "the schedule that fired was made from earlier settings")
	if due.ScheduledTime.Before(to.Trigger.UpdatedAt.Add(propagation)) {
		return nil
	}
	return to.SetLastError(ctx, f.resolver.Triggers,
		"no call was made at "+due.Minute()+": the schedule in EventBridge Scheduler differs from the trigger's; the service replaces it within minutes")
}

// deliver calls the container until it accepts the occurrence, until the attempts are
// used up, or until the run has no time for another attempt.
func (f function) deliver(ctx context.Context, to *resolve.Target, due trigger.Occurrence) store.Report {
	request := invoke.Sendable(to.Trigger.Request())
	event := invoke.NewEvent(due.Run(to.Trigger), request, trigger.SourceCron)
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-recordTime))
		defer cancel()
	}
	report := store.Report{State: run.Retrying, Request: &request}
	pause := firstPause
	for {
		attempt, err := to.Attempt(ctx, f.client, event, f.resolver.Now)
		report.At = attempt.StartedAt.Add(attempt.Duration)
		if err == nil {
			attempt.Answer = attempt.Answer.Truncate(run.MaxAnswerOfSuccess)
			report.State, report.Attempts = run.Succeeded, append(report.Attempts, attempt)
			return report
		}
		wait := min(max(invoke.RetryAfter(err), rand.N(2*pause)), longestPause)
		pause *= 4
		// A call that timed out occupied one of the few concurrent runs for a long time,
		// so Lambda's next delivery retries it.
		last := len(report.Attempts)+1 == attempts || attempt.Duration >= to.Container.Timeout
		if !last {
			attempt.NextAt = report.At.Add(wait)
		}
		report.Attempts = append(report.Attempts, attempt)
		if last || f.sleep(ctx, wait) != nil {
			return report
		}
	}
}

// conclude records the outcome of a delivery, and updates the trigger's error_message if
// the outcome changes it. It returns an error if the container did not accept the
// occurrence.
func (f function) conclude(ctx context.Context, log *slog.Logger, to *resolve.Target, its run.Run, holder string, report store.Report, metrics metric.Set) error {
	var failures []error
	last := report.Last()
	if last.Error != to.ErrorMessage() {
		failures = append(failures, to.SetLastError(ctx, f.resolver.Triggers, last.Error))
	}
	if report.State == run.Failed {
		failures = append(failures, f.bus.RunFailed(ctx, to.Trigger, its, last.Error))
	}
	failures = append(failures, f.runs.Record(ctx, its, holder, report))
	if err := errors.Join(failures...); err != nil {
		// Returning an error would make Lambda call the container again.
		log.ErrorContext(ctx, "recording the outcome failed", "state", report.State, "error", err)
	}
	metric.Log(ctx, log, "called the container", metrics, slog.String("state", string(report.State)), slog.Int("attempts", len(report.Attempts)),
		slog.Int64("latency_ms", last.Duration.Milliseconds()), slog.String("message", last.Error))
	if report.State != run.Succeeded {
		return fmt.Errorf("trigger %s at %s: %s", its.TriggerID, its.Event, last.Error)
	}
	return nil
}
