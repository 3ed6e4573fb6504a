// Package schedule keeps the EventBridge Scheduler schedules of cron triggers.
package schedule

import (
	"context"
	"fmt"

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
	return []string{triggerID, triggerID + ".2"}
}

// Apply makes the schedules of a cron trigger what its config says: one, or two
// where AWS needs them. Doing it again changes nothing, and doing it after it
// was interrupted completes it.
func (s Schedules) Apply(ctx context.Context, t trigger.Trigger) error {
	parsed, err := cron.Parse(t.Cron.Schedule)
	if err != nil {
		return err
	}
	zone, err := cron.LoadZone(t.Cron.Timezone)
	if err != nil {
		return err
	}
	expressions := parsed.Expressions(zone)
	for i, name := range names(t.ID) {
		if i < len(expressions) {
			err = s.put(ctx, name, expressions[i], occurrence.Input(t.ID, t.ContainerID))
		} else {
			err = s.delete(ctx, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
func (s Schedules) put(ctx context.Context, name string, expression cron.Expression, input string) error {
	target := &types.Target{
		Arn: &s.TargetARN, RoleArn: &s.RoleARN, Input: &input,
		RetryPolicy:      &types.RetryPolicy{MaximumEventAgeInSeconds: aws.Int32(maxEventAge), MaximumRetryAttempts: aws.Int32(maxRetries)},
		DeadLetterConfig: &types.DeadLetterConfig{Arn: &s.DeadLetterARN},
	}
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

func (s Schedules) delete(ctx context.Context, name string) error {
	_, err := s.Client.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{Name: &name, GroupName: &s.Group})
	if err != nil && !awserr.NotFound(err) {
		return fmt.Errorf("deleting schedule %s: %w", name, err)
	}
	return nil
}
