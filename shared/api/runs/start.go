package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/uuid"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/backoff"
)

// queuedTime is how long dispatch-run may take to begin a run: the template's
// MaximumEventAgeInSeconds, and a minute more. After that time the run may be queued again.
const queuedTime = 2 * time.Minute

// The pauses between two reads of a run that a caller waits for.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

// API is the part of the Lambda client that Starter uses.
type API interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Starter starts runs and waits for them.
type Starter struct {
	Runs     store.Runs
	Triggers store.Triggers
	Client   API
	// DispatchARN is the ARN of dispatch-run.
	DispatchARN string
	Now         func() time.Time
}

// StarterSettings are the settings of a function that starts runs.
type StarterSettings struct {
	RunsTable        string `env:"RUNS_TABLE,required,notEmpty"`
	RunRetentionDays int    `env:"RUN_RETENTION_DAYS,required"`
	DispatchRunARN   string `env:"DISPATCH_RUN_ARN,required,notEmpty"`
}

// NewStarter returns a starter of runs of the triggers.
func NewStarter(s StarterSettings, triggers store.Triggers, cfg aws.Config) Starter {
	return Starter{
		Runs:     store.Runs{Client: triggers.Client, Table: s.RunsTable, Retention: store.Days(s.RunRetentionDays)},
		Triggers: triggers, Client: lambda.NewFromConfig(cfg), DispatchARN: s.DispatchRunARN, Now: time.Now,
	}
}

// Run returns the operation that runs a trigger now. It answers the run after its attempt, or
// as it stands when the caller's wait is over.
func (s Starter) Run() httpapi.Operation[trigger.Trigger] {
	return httpapi.Operation[trigger.Trigger]{
		Resource: trigger.Resource,
		Read: func(ctx context.Context, r httpapi.Request) (trigger.Trigger, error) {
			return s.Triggers.Get(ctx, r.ID)
		},
		Do: func(ctx context.Context, caller auth.Principal, r httpapi.Request, found trigger.Trigger) (any, error) {
			if err := mayRun(caller, r, found); err != nil {
				return nil, err
			}
			its, wait, err := found.NewRun(r.Body, uuid.NewString(), s.Now())
			if err != nil {
				return nil, err
			}
			if err := s.Runs.Enqueue(ctx, its, s.Now(), s.Now().Add(queuedTime)); err != nil {
				return nil, err
			}
			if err := s.start(ctx, its); err != nil {
				return nil, err
			}
			return s.outcome(ctx, its, wait)
		},
	}
}

// Replay returns the operation that makes one more attempt of a run. It answers the run as
// Run does. If the run is under way already, Replay waits for that.
func (s Starter) Replay() httpapi.Operation[run.Run] {
	return httpapi.Operation[run.Run]{
		Resource: run.Resource, ID: id, Read: find(s.Runs),
		Do: func(ctx context.Context, caller auth.Principal, r httpapi.Request, found run.Run) (any, error) {
			if err := mayRead(caller, r, found); err != nil {
				return nil, err
			}
			if err := caller.MayWrite(run.Resource); err != nil {
				return nil, err
			}
			wait, err := trigger.ParseReplay(r.Body)
			if err != nil {
				return nil, err
			}
			if found.State.Ended() && !found.Replayable() {
				return nil, apierr.InvalidArgument("run_id", apierr.Constraint, "must be the ID of a run that keeps its payload; that of this run was too large")
			}
			of, err := s.Triggers.Get(ctx, found.TriggerID)
			if err != nil {
				return nil, err
			}
			if of.Status == trigger.Deleting {
				return nil, apierr.TransientState(trigger.Resource, of.ID, string(of.Status))
			}
			switch err := s.Runs.Requeue(ctx, found.Key, s.Now(), s.Now().Add(queuedTime)); {
			case err == nil:
				if err := s.start(ctx, found); err != nil {
					return nil, err
				}
			case !errors.Is(err, store.ErrClaimed):
				return nil, err
			}
			return s.outcome(ctx, found, wait)
		},
	}
}

// mayRun returns nil if the caller may run the trigger. A trigger that is being deleted is in
// a transient state.
func mayRun(caller auth.Principal, r httpapi.Request, found trigger.Trigger) error {
	region, owner := found.Location()
	if region != r.Region {
		return apierr.NotFound(trigger.Resource, r.ID)
	}
	if err := caller.MayRead(trigger.Resource, r.ID, owner); err != nil {
		return err
	}
	if err := caller.MayWrite(trigger.Resource); err != nil {
		return err
	}
	if found.Status == trigger.Deleting {
		return apierr.TransientState(trigger.Resource, found.ID, string(found.Status))
	}
	return nil
}

// start invokes dispatch-run for a queued run. If that fails, the run has failed.
func (s Starter) start(ctx context.Context, its run.Run) error {
	payload, err := json.Marshal(run.StartEvent{RunID: its.ID()})
	if err != nil {
		return fmt.Errorf("encoding the event of a run: %w", err)
	}
	_, err = s.Client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &s.DispatchARN, InvocationType: types.InvocationTypeEvent, Payload: payload})
	if err != nil {
		its.Message, its.TerminatedAt = "the service could not start the run", s.Now()
		if err := s.Runs.GiveUp(ctx, its); err != nil {
			slog.WarnContext(ctx, "a run that did not start stays queued", "run_id", its.ID(), "error", err)
		}
		return fmt.Errorf("starting a run: %w", err)
	}
	return nil
}

// outcome answers a run that has been queued when it has another attempt than before, when it
// has ended, or when the wait is over.
func (s Starter) outcome(ctx context.Context, before run.Run, wait time.Duration) (any, error) {
	end := time.Now().Add(wait)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		found, err := s.Runs.Get(ctx, before.Key)
		if err != nil {
			return nil, err
		}
		left := time.Until(end)
		if found.Count > before.Count || found.State.Ended() || left <= 0 {
			return found.Details(), nil
		}
		if err := backoff.Sleep(ctx, min(pause, left)); err != nil {
			return nil, fmt.Errorf("waiting for a run: %w", err)
		}
	}
}
