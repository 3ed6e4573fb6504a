package scheduler

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/domain/cron"
	"containertriggers/shared/domain/trigger"
)

// testBundle is the schedules of the deployed group, on moto with the guard before
// it.
type testBundle struct {
	Schedules
	t      *testing.T
	client *scheduler.Client
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	env := mototest.Environment(t, "reconcile")
	_, cfg := guardtest.Start(t)
	client := scheduler.NewFromConfig(cfg)
	return &testBundle{t: t, client: client, Schedules: Schedules{
		Client: client, Group: env["SCHEDULE_GROUP"], TargetARN: "arn:aws:lambda:us-east-1:123456789012:function:dispatch",
		RoleARN: "arn:aws:iam::123456789012:role/scheduler", DeadLetterARN: "arn:aws:sqs:us-east-1:123456789012:dead",
		Now: time.Now,
	}}
}

func cronTrigger(schedule, timezone string) trigger.Trigger {
	return trigger.Trigger{ID: uuid.NewString(), ContainerID: uuid.NewString(), Cron: &trigger.Cron{Schedule: schedule, Timezone: timezone}}
}

func (b *testBundle) apply(t trigger.Trigger) {
	b.t.Helper()
	if err := b.Apply(b.t.Context(), t); err != nil {
		b.t.Fatal(err)
	}
}

func (b *testBundle) get(name string) *scheduler.GetScheduleOutput {
	b.t.Helper()
	found, err := b.client.GetSchedule(b.t.Context(), &scheduler.GetScheduleInput{Name: &name, GroupName: &b.Group})
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

// list returns the schedules of a trigger.
func (b *testBundle) list(id string) Listed {
	b.t.Helper()
	all := Listed{}
	for after := ""; ; {
		listed, next, err := b.List(b.t.Context(), after, 1)
		if err != nil {
			b.t.Fatal(err)
		}
		for name, summary := range listed {
			if strings.HasPrefix(name, id) {
				all[name] = summary
			}
		}
		if after = next; next == "" {
			return all
		}
	}
}

func (b *testBundle) expectDrift(what string, t trigger.Trigger, want bool) {
	b.t.Helper()
	if got, _, err := b.Drifted(b.t.Context(), t, b.list(t.ID)); err != nil || got != want {
		b.t.Errorf("%s: drifted %t, %v", what, got, err)
	}
}

func TestApply_MakesTheWholeSchedule(t *testing.T) {
	t.Parallel()
	b, tr := setup(t), cronTrigger("0 3 * * *", "Asia/Seoul")
	// What an earlier config left is overwritten, and the second time changes nothing.
	for _, earlier := range []string{"0 4 1 * 1", "0 3 * * *", "0 3 * * *"} {
		tr.Cron.Schedule = earlier
		b.apply(tr)
	}
	found := b.get(tr.ID)
	want := &types.Target{
		Arn: &b.TargetARN, RoleArn: &b.RoleARN, Input: aws.String(occurrenceInput(tr, cron.NoFilter)),
		DeadLetterConfig: &types.DeadLetterConfig{Arn: &b.DeadLetterARN},
		// Scheduler's most: a day, and 185 attempts within it.
		RetryPolicy: &types.RetryPolicy{MaximumEventAgeInSeconds: aws.Int32(86400), MaximumRetryAttempts: aws.Int32(185)},
	}
	if !reflect.DeepEqual(found.Target, want) {
		t.Errorf("got target %+v with retry policy %+v", found.Target, found.Target.RetryPolicy)
	}
	if *found.ScheduleExpression != "cron(0 3 * * ? *)" || *found.ScheduleExpressionTimezone != "Asia/Seoul" ||
		found.State != types.ScheduleStateEnabled || found.FlexibleTimeWindow.Mode != types.FlexibleTimeWindowModeOff {
		t.Errorf("got %+v", found)
	}
	b.expectDrift("as applied", tr, false)
}

func TestRemove_DeletesBothSchedulesAndIsIdempotent(t *testing.T) {
	t.Parallel()
	b, tr := setup(t), cronTrigger("0 0 1 * 1", "UTC")
	b.apply(tr)
	for range 2 {
		if err := b.Remove(t.Context(), tr); err != nil {
			t.Fatal(err)
		}
	}
	page, err := b.client.ListSchedules(t.Context(), &scheduler.ListSchedulesInput{GroupName: &b.Group, NamePrefix: &tr.ID})
	if err != nil || len(page.Schedules) > 0 {
		t.Errorf("got %+v, %v", page.Schedules, err)
	}
}

func TestTriggerIDs_ListsEachTriggerWithSchedules(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want := map[string]bool{}
	for i := range 3 {
		tr := cronTrigger(fmt.Sprintf("%d 0 1 * 1", i), "UTC")
		b.apply(tr)
		want[tr.ID] = true
	}
	listed := Listed{}
	for id := range want {
		maps.Copy(listed, b.list(id))
	}
	if len(listed) != 2*len(want) {
		t.Errorf("%d schedules are listed", len(listed))
	}
	for _, id := range listed.TriggerIDs() {
		delete(want, id)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
}
