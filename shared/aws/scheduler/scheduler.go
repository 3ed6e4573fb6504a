// Package scheduler creates, repairs and deletes the schedules of cron triggers in
// EventBridge Scheduler. All its changes are idempotent.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"containertriggers/shared/domain/cron"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/awserr"
)

// API is the part of the Scheduler client that [Schedules] uses.
type API interface {
	CreateSchedule(context.Context, *scheduler.CreateScheduleInput, ...func(*scheduler.Options)) (*scheduler.CreateScheduleOutput, error)
	UpdateSchedule(context.Context, *scheduler.UpdateScheduleInput, ...func(*scheduler.Options)) (*scheduler.UpdateScheduleOutput, error)
	DeleteSchedule(context.Context, *scheduler.DeleteScheduleInput, ...func(*scheduler.Options)) (*scheduler.DeleteScheduleOutput, error)
	GetSchedule(context.Context, *scheduler.GetScheduleInput, ...func(*scheduler.Options)) (*scheduler.GetScheduleOutput, error)
	ListSchedules(context.Context, *scheduler.ListSchedulesInput, ...func(*scheduler.Options)) (*scheduler.ListSchedulesOutput, error)
}

// If Scheduler cannot invoke Lambda, it retries for a day, the longest that it allows, and
// then moves the occurrence to the dead-letter queue. An invocation succeeds once Lambda
// has queued the event, so these retries do not concern failures of a container.
const (
	maxEventAge = 24 * 60 * 60 // seconds
	maxRetries  = 185
)

// Schedules manages the schedules of one schedule group.
type Schedules struct {
	Client API
	Group  string
	// TargetARN is the function that a schedule invokes. RoleARN is the role that allows
	// Scheduler to invoke it. DeadLetterARN is the queue of the occurrences that Scheduler
	// gives up.
	TargetARN, RoleARN, DeadLetterARN string
	Now                               func() time.Time
}

// names returns the names of the schedules that a trigger may have. They depend on the
// trigger's ID alone, which makes put idempotent.
func names(triggerID string) []string {
	return []string{triggerID, triggerID + second}
}

// second ends the name of a trigger's second schedule.
const second = ".2"

// Apply makes the schedules of a cron trigger match its config. Some configs need two
// schedules. Apply completes an earlier call that was interrupted. If the config is not
// valid, it removes the schedules of an earlier config and returns a *cron.Error.
func (s Schedules) Apply(ctx context.Context, t trigger.Trigger) error {
	err := s.apply(ctx, t)
	if _, wrong := errors.AsType[*cron.Error](err); wrong {
		return errors.Join(err, s.Remove(ctx, t))
	}
	return err
}

func (s Schedules) apply(ctx context.Context, t trigger.Trigger) error {
	expressions, err := expressions(t)
	if err != nil {
		return err
	}
	for i, name := range names(t.ID) {
		if i < len(expressions) {
			err = s.put(ctx, name, expressions[i], t)
		} else {
			err = s.delete(ctx, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// expressions returns the expressions of the trigger's schedules, or a *cron.Error.
func expressions(t trigger.Trigger) ([]cron.Expression, error) {
	parsed, err := cron.Parse(t.Cron.Schedule)
	if err != nil {
		return nil, err
	}
	zone, err := cron.LoadZone(t.Cron.Timezone)
	if err != nil {
		return nil, err
	}
	return parsed.Expressions(zone), nil
}

// Remove deletes the trigger's schedules. It does nothing if there are none.
func (s Schedules) Remove(ctx context.Context, t trigger.Trigger) error {
	for _, name := range names(t.ID) {
		if err := s.delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// put creates a schedule, or updates the schedule of that name. It first tries to create
// it, because most triggers are never updated. It returns a *cron.Error if AWS refuses the
// time zone.
func (s Schedules) put(ctx context.Context, name string, expression cron.Expression, t trigger.Trigger) error {
	target := s.target(t, expression.Filter)
	state := stateOf(t)
	window := &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff}
	_, err := s.Client.CreateSchedule(ctx, &scheduler.CreateScheduleInput{
		Name: &name, GroupName: &s.Group, State: state, Target: target, FlexibleTimeWindow: window,
		ScheduleExpression: &expression.Cron, ScheduleExpressionTimezone: &expression.Timezone,
	})
	if awserr.AlreadyExists(err) {
		_, err = s.Client.UpdateSchedule(ctx, &scheduler.UpdateScheduleInput{
			Name: &name, GroupName: &s.Group, State: state, Target: target, FlexibleTimeWindow: window,
			ScheduleExpression: &expression.Cron, ScheduleExpressionTimezone: &expression.Timezone,
		})
	}
	if invalid, ok := errors.AsType[*types.ValidationException](err); ok && strings.Contains(strings.ToLower(invalid.ErrorMessage()), "timezone") {
		// AWS may have another release of the time zone database than this service.
		err = errors.Join(&cron.Error{Field: "timezone", Problem: "EventBridge Scheduler does not know " + expression.Timezone}, err)
	}
	if err != nil {
		return fmt.Errorf("putting schedule %s: %w", name, err)
	}
	return nil
}

// stateOf returns the state of the trigger's schedules.
func stateOf(t trigger.Trigger) types.ScheduleState {
	if t.Paused() {
		return types.ScheduleStateDisabled
	}
	return types.ScheduleStateEnabled
}

// target returns the target of the trigger's schedules: the function, its input and the
// retry policy.
func (s Schedules) target(t trigger.Trigger, filter cron.Filter) *types.Target {
	return &types.Target{
		Arn: &s.TargetARN, RoleArn: &s.RoleARN, Input: aws.String(occurrenceInput(t, filter)),
		RetryPolicy:      &types.RetryPolicy{MaximumEventAgeInSeconds: aws.Int32(maxEventAge), MaximumRetryAttempts: aws.Int32(maxRetries)},
		DeadLetterConfig: &types.DeadLetterConfig{Arn: &s.DeadLetterARN},
	}
}

// occurrenceInput returns the input of a schedule with that filter, in the form of a
// [trigger.Occurrence]. EventBridge Scheduler replaces the placeholder by the scheduled
// time (User Guide, "Adding context attributes").
func occurrenceInput(t trigger.Trigger, filter cron.Filter) string {
	// encoding/json would escape the placeholder's angle brackets.
	return fmt.Sprintf(`{"trigger_id":%q,"container_id":%q,"scheduled_time":"<aws.scheduler.scheduled-time>","schedule":%q,"timezone":%q,"filter":%q}`,
		t.ID, t.ContainerID, t.Cron.Schedule, t.Cron.Timezone, filter)
}

func (s Schedules) delete(ctx context.Context, name string) error {
	_, err := s.Client.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{Name: &name, GroupName: &s.Group})
	if err != nil && !awserr.NotFound(err) {
		return fmt.Errorf("deleting schedule %s: %w", name, err)
	}
	return nil
}
