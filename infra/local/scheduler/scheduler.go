// Package scheduler fires schedules like EventBridge Scheduler. Emulators store schedules
// and do not fire them.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/awscron"
)

// pollEvery is the interval at which Scheduler looks for changed and due schedules. If a
// look takes long, Scheduler pauses for longer, so that others can use the emulator.
const pollEvery = 300 * time.Millisecond

// Scheduler fires each schedule of the emulator once at each time that it is due.
type Scheduler struct {
	Client *scheduler.Client
	// Invoke queues an asynchronous invocation of a schedule's target.
	Invoke func(arn string, payload []byte) error
	// Serves reports whether the target of a schedule, an ARN, is one of those that Invoke
	// knows. Schedules of others, which share the emulator, do not fire.
	Serves func(arn string) bool
	// DeadLetter puts an event that the target did not take into a queue, named by its ARN.
	DeadLetter func(ctx context.Context, arn, payload string) error
	// Now returns the time.
	Now func() time.Time

	known map[string]*planned // by ARN
	last  time.Time           // when it last looked, by Now
}

// planned is a schedule and its next time.
type planned struct {
	arn        string
	changed    time.Time
	expression awscron.Expression
	target     *types.Target
	due        time.Time
	ended      bool
}

// Run fires schedules until ctx ends.
func (s *Scheduler) Run(ctx context.Context) {
	s.known, s.last = map[string]*planned{}, s.Now()
	for {
		began := time.Now()
		if err := s.poll(ctx); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "looking for schedules failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(pollEvery, 3*time.Since(began))):
		}
	}
}

func (s *Scheduler) poll(ctx context.Context) error {
	now := s.Now()
	present := map[string]bool{}
	pages := scheduler.NewListSchedulesPaginator(s.Client, &scheduler.ListSchedulesInput{MaxResults: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("listing schedules: %w", err)
		}
		for _, summary := range page.Schedules {
			present[*summary.Arn] = true
			if plan, ok := s.known[*summary.Arn]; ok && plan.changed.Equal(aws.ToTime(summary.LastModificationDate)) {
				continue
			}
			if err := s.plan(ctx, summary); err != nil {
				return err
			}
		}
	}
	for arn, plan := range s.known {
		if !present[arn] {
			delete(s.known, arn)
			continue
		}
		for !plan.ended && !plan.due.After(now) {
			s.fire(ctx, plan)
			if plan.expression.Periodic() {
				plan.advance(now) // not once for each time that a jump of the clock left out
			} else {
				plan.advance(plan.due)
			}
		}
	}
	s.last = now
	return nil
}

func (p *planned) advance(after time.Time) {
	next, ok := p.expression.Next(after)
	p.due, p.ended = next, !ok
}

// plan reads a new or changed schedule and plans its first time after the last look,
// because it appeared after that.
func (s *Scheduler) plan(ctx context.Context, summary types.ScheduleSummary) error {
	schedule, err := s.Client.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: summary.Name, GroupName: summary.GroupName})
	if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading schedule %s: %w", *summary.Name, err)
	}
	plan := &planned{arn: *summary.Arn, changed: aws.ToTime(summary.LastModificationDate), target: schedule.Target}
	s.known[plan.arn] = plan
	if schedule.State == types.ScheduleStateDisabled || !s.Serves(*schedule.Target.Arn) {
		plan.ended = true
		return nil
	}
	plan.expression, err = awscron.Parse(aws.ToString(schedule.ScheduleExpression), aws.ToString(schedule.ScheduleExpressionTimezone))
	if err != nil {
		plan.ended = true
		slog.ErrorContext(ctx, "AWS would refuse a schedule that the emulator took", "schedule", *summary.Name, "error", err)
		return nil
	}
	plan.advance(s.last)
	return nil
}

func (s *Scheduler) fire(ctx context.Context, plan *planned) {
	payload := strings.NewReplacer(
		"<aws.scheduler.scheduled-time>", plan.due.UTC().Format(time.RFC3339),
		"<aws.scheduler.schedule-arn>", plan.arn,
		"<aws.scheduler.execution-id>", uuid.NewString(),
		"<aws.scheduler.attempt-number>", "1",
	).Replace(aws.ToString(plan.target.Input))
	err := s.Invoke(*plan.target.Arn, []byte(payload))
	if err == nil {
		return
	}
	slog.ErrorContext(ctx, "a schedule's target did not take the occurrence", "schedule", plan.arn, "error", err)
	if plan.target.DeadLetterConfig != nil {
		if err := s.DeadLetter(ctx, aws.ToString(plan.target.DeadLetterConfig.Arn), payload); err != nil {
			slog.ErrorContext(ctx, "the dead-letter queue did not take it either", "schedule", plan.arn, "error", err)
		}
	}
}
