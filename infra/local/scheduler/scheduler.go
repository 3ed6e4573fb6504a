// Package scheduler plays the part of EventBridge Scheduler that emulators leave
// out: it fires schedules.
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

// pollEvery is how often it looks for changed schedules and due ones; where there
// are so many that looking takes long, it leaves the emulator to others for most of
// the time.
const pollEvery = 300 * time.Millisecond

// Scheduler fires the schedules that the emulator holds, each once a time that
// it is due.
type Scheduler struct {
	Client *scheduler.Client
	// Invoke queues an asynchronous invocation of a schedule's target.
	Invoke func(arn string, payload []byte) error
	// DeadLetter takes what could not be handed over, by the queue's ARN.
	DeadLetter func(ctx context.Context, arn, payload string) error
	// Now is the time to fire by.
	Now func() time.Time

	known map[string]*planned // by ARN
	last  time.Time           // when it last looked, by Now
}

// planned is a schedule and when it is due next.
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
			slog.Error("looking for schedules failed", "error", err)
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

// plan reads a schedule that is new or has changed. It is due from the time of
// the last look on: it appeared after that.
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
	if schedule.State == types.ScheduleStateDisabled {
		plan.ended = true
		return nil
	}
	plan.expression, err = awscron.Parse(aws.ToString(schedule.ScheduleExpression), aws.ToString(schedule.ScheduleExpressionTimezone))
	if err != nil {
		plan.ended = true
		slog.Error("AWS would refuse a schedule that the emulator took", "schedule", *summary.Name, "error", err)
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
	slog.Error("a schedule's target did not take the occurrence", "schedule", plan.arn, "error", err)
	if plan.target.DeadLetterConfig != nil {
		if err := s.DeadLetter(ctx, aws.ToString(plan.target.DeadLetterConfig.Arn), payload); err != nil {
			slog.Error("the dead-letter queue did not take it either", "schedule", plan.arn, "error", err)
		}
	}
}
