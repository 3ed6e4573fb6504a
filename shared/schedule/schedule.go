// Package schedule keeps the EventBridge Scheduler schedules of cron triggers.
package schedule

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"containertriggers/shared/awserr"
	"containertriggers/shared/cron"
	"containertriggers/shared/occurrence"
	"containertriggers/shared/trigger"
)

// API is what Schedules needs of the Scheduler client.
type API interface {
	CreateSchedule(context.Context, *scheduler.CreateScheduleInput, ...func(*scheduler.Options)) (*scheduler.CreateScheduleOutput, error)
	UpdateSchedule(context.Context, *scheduler.UpdateScheduleInput, ...func(*scheduler.Options)) (*scheduler.UpdateScheduleOutput, error)
	DeleteSchedule(context.Context, *scheduler.DeleteScheduleInput, ...func(*scheduler.Options)) (*scheduler.DeleteScheduleOutput, error)
	GetSchedule(context.Context, *scheduler.GetScheduleInput, ...func(*scheduler.Options)) (*scheduler.GetScheduleOutput, error)
	ListSchedules(context.Context, *scheduler.ListSchedulesInput, ...func(*scheduler.Options)) (*scheduler.ListSchedulesOutput, error)
}

// Scheduler retries to hand an occurrence to Lambda for a day, its longest, and
// then puts it into the dead-letter queue. A container's failures are not meant:
// handing over succeeds as soon as Lambda has queued the event.
const (
	maxEventAge = 24 * 60 * 60 // seconds
	maxRetries  = 185
)

// Schedules are the schedules of one schedule group.
type Schedules struct {
	Client API
	Group  string
	// TargetARN is the function that a schedule invokes, RoleARN the role with
	// which Scheduler may do so, DeadLetterARN the queue of what it could not
	// hand over.
	TargetARN, RoleARN, DeadLetterARN string
}

// names are a trigger's schedules, whether they are in use or not. They follow
// from the trigger alone, so that making one twice is making it once.
func names(triggerID string) []string {
	return []string{triggerID, triggerID + second}
}

// second ends the name of a trigger's second schedule.
const second = ".2"

// Apply makes the schedules of a cron trigger what its config says: one, or two
// where AWS needs them. Doing it again changes nothing, and doing it after it
// was interrupted completes it.
func (s Schedules) Apply(ctx context.Context, t trigger.Trigger) error {
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

// expressions are those of the trigger's schedules.
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

// Drifted says whether the schedules of a cron trigger are not what Apply makes
// them: somebody deleted, changed, disabled or added one.
func (s Schedules) Drifted(ctx context.Context, t trigger.Trigger) (bool, error) {
	expressions, err := expressions(t)
	if err != nil {
		return false, err
	}
	for i, name := range names(t.ID) {
		found, err := s.Client.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: &name, GroupName: &s.Group})
		switch missing := awserr.NotFound(err); {
		case err != nil && !missing:
			return false, fmt.Errorf("reading schedule %s: %w", name, err)
		case missing != (i >= len(expressions)):
			return true, nil
		case missing:
			continue
		}
		wanted := expressions[i]
		if found.State != types.ScheduleStateEnabled || aws.ToString(found.ScheduleExpression) != wanted.Cron ||
			aws.ToString(found.ScheduleExpressionTimezone) != wanted.Timezone || !sameTarget(found.Target, s.target(t)) {
			return true, nil
		}
	}
	return false, nil
}

func sameTarget(found, wanted *types.Target) bool {
	return found != nil && *wanted.Arn == aws.ToString(found.Arn) && *wanted.RoleArn == aws.ToString(found.RoleArn) &&
		*wanted.Input == aws.ToString(found.Input) &&
		found.DeadLetterConfig != nil && *wanted.DeadLetterConfig.Arn == aws.ToString(found.DeadLetterConfig.Arn)
}

// IDs lists the triggers that schedules are there for, up to 100 schedules at a
// time: after "" the first, until next is "" again. A trigger may be listed twice.
func (s Schedules) IDs(ctx context.Context, after string) (ids []string, next string, err error) {
	input := &scheduler.ListSchedulesInput{GroupName: &s.Group, MaxResults: aws.Int32(100)}
	if after != "" {
		input.NextToken = &after
	}
	page, err := s.Client.ListSchedules(ctx, input)
	if err != nil {
		return nil, "", fmt.Errorf("listing schedules: %w", err)
	}
	for _, summary := range page.Schedules {
		ids = append(ids, strings.TrimSuffix(aws.ToString(summary.Name), second))
	}
	return ids, aws.ToString(page.NextToken), nil
}

// Remove deletes the trigger's schedules; those that are gone already are fine.
func (s Schedules) Remove(ctx context.Context, t trigger.Trigger) error {
	for _, name := range names(t.ID) {
		if err := s.delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// put creates a schedule, or updates the one of that name. Creating comes first
// because most triggers are never updated.
func (s Schedules) put(ctx context.Context, name string, expression cron.Expression, t trigger.Trigger) error {
	target := s.target(t)
	window := &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff}
	_, err := s.Client.CreateSchedule(ctx, &scheduler.CreateScheduleInput{
		Name: &name, GroupName: &s.Group, State: types.ScheduleStateEnabled, Target: target, FlexibleTimeWindow: window,
		ScheduleExpression: &expression.Cron, ScheduleExpressionTimezone: &expression.Timezone,
	})
	if awserr.AlreadyExists(err) {
		_, err = s.Client.UpdateSchedule(ctx, &scheduler.UpdateScheduleInput{
			Name: &name, GroupName: &s.Group, State: types.ScheduleStateEnabled, Target: target, FlexibleTimeWindow: window,
			ScheduleExpression: &expression.Cron, ScheduleExpressionTimezone: &expression.Timezone,
		})
	}
	if err != nil {
		return fmt.Errorf("putting schedule %s: %w", name, err)
	}
	return nil
}

// target is what a schedule of the trigger invokes, and how.
func (s Schedules) target(t trigger.Trigger) *types.Target {
	return &types.Target{
		Arn: &s.TargetARN, RoleArn: &s.RoleARN, Input: aws.String(occurrence.Input(t.ID, t.ContainerID)),
		RetryPolicy:      &types.RetryPolicy{MaximumEventAgeInSeconds: aws.Int32(maxEventAge), MaximumRetryAttempts: aws.Int32(maxRetries)},
		DeadLetterConfig: &types.DeadLetterConfig{Arn: &s.DeadLetterARN},
	}
}

func (s Schedules) delete(ctx context.Context, name string) error {
	_, err := s.Client.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{Name: &name, GroupName: &s.Group})
	if err != nil && !awserr.NotFound(err) {
		return fmt.Errorf("deleting schedule %s: %w", name, err)
	}
	return nil
}
