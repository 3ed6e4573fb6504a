package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/metric"
)

// function makes one attempt of a run that a caller of the API asked for.
type function struct {
	resolver resolve.Resolver
	runs     store.Runs
	client   *invoke.Client
	// stack is a dimension of the metrics.
	stack string
}

// event is what invokes the function: the start of one run, or a batch of the queue of
// catch-ups.
type event struct {
	run.StartEvent
	events.SQSEvent
}

// handle makes the attempts of queued runs. If it returns an error, Lambda gives up the start
// of one run, and the queue delivers a batch again.
func (f function) handle(ctx context.Context, e event) error {
	if len(e.Records) == 0 {
		return f.start(ctx, e.StartEvent)
	}
	for _, record := range e.Records {
		var start run.StartEvent
		if err := json.Unmarshal([]byte(record.Body), &start); err != nil {
			// The messages behind it in its group must not wait for it.
			slog.ErrorContext(ctx, "a message of the queue is no start of a run and is dropped", "message_id", record.MessageId, "error", err)
			continue
		}
		if err := f.catchUp(ctx, start); err != nil {
			return err
		}
	}
	return nil
}

// catchUp starts a run that comes from the queue. The queue has no dead-letter queue, so
// catchUp marks the run as failed if the service fails. It returns an error if it cannot.
func (f function) catchUp(ctx context.Context, start run.StartEvent) error {
	failure := f.start(ctx, start)
	if failure == nil {
		return nil
	}
	slog.WarnContext(ctx, "a run of a catch-up is given up", "run_id", start.RunID, "error", failure)
	key, ok := run.ParseID(start.RunID)
	if !ok {
		return nil // nobody has such a run
	}
	its, err := f.runs.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	its.Message, its.TerminatedAt = "the service failed", f.resolver.Now()
	return f.runs.GiveUp(ctx, its)
}

// start makes the attempt of a queued run and records how it ended. It does nothing if
// another delivery has claimed the run.
func (f function) start(ctx context.Context, event run.StartEvent) error {
	key, ok := run.ParseID(event.RunID)
	if !ok {
		return fmt.Errorf("%q is not the ID of a run", event.RunID)
	}
	holder := "unknown"
	if its, ok := lambdacontext.FromContext(ctx); ok {
		holder = its.AwsRequestID
	}
	log := slog.With("trigger_id", key.TriggerID, "run_id", event.RunID, "request_id", holder)
	its, err := f.runs.Get(ctx, key)
	if err != nil {
		return err
	}
	if its.State.Ended() {
		log.InfoContext(ctx, "nothing to do: the run has ended") // it came twice
		return nil
	}
	its.StartedAt = f.resolver.Now()
	until := its.StartedAt.Add(container.MaxTimeout)
	if deadline, ok := ctx.Deadline(); ok {
		until = deadline
	}
	if _, err := f.runs.Claim(ctx, its, store.Claim{Holder: holder, Until: until}); errors.Is(err, store.ErrClaimed) {
		log.InfoContext(ctx, "nothing to do: another delivery holds the run, or has ended it")
		return nil
	} else if err != nil {
		return err
	}
	source, report, err := f.attempt(ctx, its)
	if errors.Is(err, errGone) {
		its.Message, its.TerminatedAt = err.Error(), f.resolver.Now()
		return f.runs.GiveUp(ctx, its)
	}
	if err != nil {
		return err
	}
	if err := f.runs.Record(ctx, its, holder, report); err != nil {
		return err
	}
	last := report.Last()
	counts := map[string]int{metric.Attempts: 1, metric.Runs: 1, metric.RunsFailed: 0}
	if report.State == run.Failed {
		counts[metric.RunsFailed] = 1
	}
	metric.Log(ctx, log, "called the container", metric.Set{
		Stack: f.stack, Source: string(source), Counts: counts, Durations: map[string][]time.Duration{metric.AttemptDuration: {last.Duration}},
	}, slog.String("state", string(report.State)), slog.Int64("latency_ms", last.Duration.Milliseconds()), slog.String("message", last.Error))
	return nil
}

// attempt calls the container with the request of the run. A run that kept none gets that of
// its trigger.
func (f function) attempt(ctx context.Context, its run.Run) (trigger.Source, store.Report, error) {
	to, err := f.resolver.Lookup(ctx, its.TriggerID, its.ContainerID)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			err = errGone
		}
		return "", store.Report{}, err
	}
	if to.Trigger.Status == trigger.Deleting {
		return "", store.Report{}, errGone
	}
	request := to.Trigger.Request()
	if its.Request != nil {
		request = *its.Request
	}
	request = invoke.Sendable(request)
	to.Trigger.Destination = trigger.Destination{HTTPMethod: strings.ToLower(request.HTTPMethod), HTTPPath: request.HTTPPath}
	if err := f.resolver.Open(ctx, to); err != nil {
		return "", store.Report{}, err
	}
	made, err := to.Attempt(ctx, f.client, invoke.NewEvent(its, request, to.Trigger.Source()), f.resolver.Now)
	made.Manual = true
	report := store.Report{State: run.Succeeded, Attempts: []run.Attempt{made}, Request: &request, At: made.StartedAt.Add(made.Duration)}
	if err != nil {
		report.State = run.Failed
	}
	return to.Trigger.Source(), report, nil
}

// errGone is the error for a run whose trigger or container is deleted.
var errGone = errors.New("the trigger or its container is deleted")
