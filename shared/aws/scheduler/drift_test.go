package scheduler

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"containertriggers/shared/domain/cron"
	"containertriggers/shared/domain/trigger"
)

func TestDrifted_HealsWithApply(t *testing.T) {
	t.Parallel()
	b, tr := setup(t), cronTrigger("0 0 1 * 1", "Europe/Paris") // two schedules
	b.apply(tr)
	put := func(name string, change func(*scheduler.UpdateScheduleInput)) {
		t.Helper()
		found := b.get(name)
		input := &scheduler.UpdateScheduleInput{
			Name: &name, GroupName: &b.Group, State: found.State, Target: found.Target, FlexibleTimeWindow: found.FlexibleTimeWindow,
			ScheduleExpression: found.ScheduleExpression, ScheduleExpressionTimezone: found.ScheduleExpressionTimezone,
		}
		change(input)
		if _, err := b.client.UpdateSchedule(t.Context(), input); err != nil {
			t.Fatal(err)
		}
	}
	later := aws.Time(time.Now().Add(time.Hour))
	for _, name := range names(tr.ID) {
		for what, change := range map[string]func(){
			"deleted": func() {
				if _, err := b.client.DeleteSchedule(t.Context(), &scheduler.DeleteScheduleInput{Name: &name, GroupName: &b.Group}); err != nil {
					t.Fatal(err)
				}
			},
			"disabled": func() { put(name, func(s *scheduler.UpdateScheduleInput) { s.State = types.ScheduleStateDisabled }) },
			"fewer retries": func() {
				put(name, func(s *scheduler.UpdateScheduleInput) { s.Target.RetryPolicy.MaximumRetryAttempts = aws.Int32(0) })
			},
			"a flexible window": func() {
				put(name, func(s *scheduler.UpdateScheduleInput) {
					s.FlexibleTimeWindow = &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeFlexible, MaximumWindowInMinutes: aws.Int32(5)}
				})
			},
			"a start date": func() { put(name, func(s *scheduler.UpdateScheduleInput) { s.StartDate = later }) },
			"an end date":  func() { put(name, func(s *scheduler.UpdateScheduleInput) { s.EndDate = later }) },
			"a key": func() {
				put(name, func(s *scheduler.UpdateScheduleInput) { s.KmsKeyArn = aws.String("arn:aws:kms:::key/k") })
			},
		} {
			change()
			b.expectDrift(what, tr, true)
			b.apply(tr)
			b.expectDrift(what+", healed", tr, false)
		}
	}
	tr.Cron.Schedule = "0 0 1 * *" // one schedule
	b.expectDrift("a schedule too many", tr, true)
	b.apply(tr)
	b.expectDrift("a schedule too many, healed", tr, false)
}

func TestDrifted_WantsTheSchedulesOfAPausedTriggerDisabled(t *testing.T) {
	t.Parallel()
	b, tr := setup(t), cronTrigger("0 0 1 * 1", "Europe/Paris") // two schedules
	b.apply(tr)
	paused := tr
	paused.PausedAt = time.Now()
	b.expectDrift("enabled", paused, true)
	b.apply(paused)
	for _, name := range names(tr.ID) {
		if state := b.get(name).State; state != types.ScheduleStateDisabled {
			t.Errorf("%s is %s", name, state)
		}
	}
	b.expectDrift("disabled", paused, false)
	b.expectDrift("disabled, of a trigger that is not paused", tr, true)
	b.apply(tr)
	b.expectDrift("enabled again", tr, false)
}

// asAWSAnswers is what GetSchedule answers of a schedule that Apply made, with what
// AWS fills in (API reference of GetSchedule; for ActionAfterCompletion, which the
// emulator leaves out, User Guide, "Deleting a schedule").
func (s Schedules) asAWSAnswers(t trigger.Trigger) *scheduler.GetScheduleOutput {
	now := time.Now()
	return &scheduler.GetScheduleOutput{
		Arn: aws.String("arn:aws:scheduler:us-east-1:123456789012:schedule/group/" + t.ID), Name: &t.ID, GroupName: aws.String("group"),
		CreationDate: &now, LastModificationDate: &now, ActionAfterCompletion: types.ActionAfterCompletionNone,
		State: types.ScheduleStateEnabled, FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
		ScheduleExpression: aws.String("cron(0 3 * * ? *)"), ScheduleExpressionTimezone: aws.String("UTC"),
		Target: s.target(t, cron.NoFilter),
	}
}

func TestDrifted_ComparesEveryField(t *testing.T) {
	t.Parallel()
	s := Schedules{TargetARN: "function", RoleARN: "role", DeadLetterARN: "queue"}
	tr := cronTrigger("0 3 * * *", "UTC")
	wanted, err := expressions(tr)
	if err != nil {
		t.Fatal(err)
	}
	if !upToDate(s.asAWSAnswers(tr), types.ScheduleStateEnabled, wanted[0], s.target(tr, cron.NoFilter)) {
		t.Error("what AWS answers of a schedule that nobody changed is drift")
	}

	other := aws.String("other")
	changes := map[string][]func(*scheduler.GetScheduleOutput){
		"ActionAfterCompletion": {func(o *scheduler.GetScheduleOutput) { o.ActionAfterCompletion = types.ActionAfterCompletionDelete }},
		"EndDate":               {func(o *scheduler.GetScheduleOutput) { o.EndDate = aws.Time(time.Now()) }},
		"FlexibleTimeWindow": {
			func(o *scheduler.GetScheduleOutput) { o.FlexibleTimeWindow = nil },
			func(o *scheduler.GetScheduleOutput) { o.FlexibleTimeWindow.Mode = types.FlexibleTimeWindowModeFlexible },
		},
		"KmsKeyArn":                  {func(o *scheduler.GetScheduleOutput) { o.KmsKeyArn = other }},
		"ScheduleExpression":         {func(o *scheduler.GetScheduleOutput) { o.ScheduleExpression = other }},
		"ScheduleExpressionTimezone": {func(o *scheduler.GetScheduleOutput) { o.ScheduleExpressionTimezone = other }},
		"StartDate":                  {func(o *scheduler.GetScheduleOutput) { o.StartDate = aws.Time(time.Now()) }},
		"State":                      {func(o *scheduler.GetScheduleOutput) { o.State = types.ScheduleStateDisabled }},
		"Target": {
			func(o *scheduler.GetScheduleOutput) { o.Target = nil },
			func(o *scheduler.GetScheduleOutput) { o.Target.Arn = other },
			func(o *scheduler.GetScheduleOutput) { o.Target.RoleArn = other },
			func(o *scheduler.GetScheduleOutput) { o.Target.Input = other },
			func(o *scheduler.GetScheduleOutput) { o.Target.DeadLetterConfig = nil },
			func(o *scheduler.GetScheduleOutput) { o.Target.DeadLetterConfig.Arn = other },
			func(o *scheduler.GetScheduleOutput) { o.Target.RetryPolicy = nil },
			func(o *scheduler.GetScheduleOutput) { o.Target.RetryPolicy.MaximumRetryAttempts = aws.Int32(184) },
			func(o *scheduler.GetScheduleOutput) { o.Target.RetryPolicy.MaximumEventAgeInSeconds = aws.Int32(60) },
			func(o *scheduler.GetScheduleOutput) {
				o.Target.SqsParameters = &types.SqsParameters{MessageGroupId: other}
			},
		},
	}
	for field, each := range changes {
		for i, change := range each {
			found := s.asAWSAnswers(tr)
			change(found)
			if upToDate(found, types.ScheduleStateEnabled, wanted[0], s.target(tr, cron.NoFilter)) {
				t.Errorf("change %d of %s is no drift", i, field)
			}
		}
	}
	// Those that name the schedule, note its changes, or change no delivery.
	known := slices.Concat(slices.Collect(maps.Keys(changes)),
		[]string{"Arn", "Name", "GroupName", "CreationDate", "LastModificationDate", "Description", "ResultMetadata", "noSmithyDocumentSerde"})
	for i := range reflect.TypeFor[scheduler.GetScheduleOutput]().NumField() {
		if name := reflect.TypeFor[scheduler.GetScheduleOutput]().Field(i).Name; !slices.Contains(known, name) {
			t.Errorf("GetSchedule answers %s, of which nobody decided whether a change of it is drift", name)
		}
	}
}

// counted counts the reads of single schedules.
type counted struct {
	API
	reads int
}

func (c *counted) GetSchedule(ctx context.Context, input *scheduler.GetScheduleInput, options ...func(*scheduler.Options)) (*scheduler.GetScheduleOutput, error) {
	c.reads++
	return c.API.GetSchedule(ctx, input, options...)
}

// expectReads compares the number of schedules that Drifted reads one by one, and returns what
// it verified.
func (b *testBundle) expectReads(what string, t trigger.Trigger, listed Listed, want int) string {
	b.t.Helper()
	client := &counted{API: b.client}
	s := b.Schedules
	s.Client = client
	drifted, verified, err := s.Drifted(b.t.Context(), t, listed)
	if err != nil || drifted || client.reads != want {
		b.t.Errorf("%s: drifted %t, %v, after %d reads, want %d", what, drifted, err, client.reads, want)
	}
	return verified
}

func TestDrifted_ReadsSchedulesOnlyIfTheyOrTheTriggerHaveChanged(t *testing.T) {
	t.Parallel()
	b, tr := setup(t), cronTrigger("0 0 1 * 1", "Europe/Paris") // two schedules
	b.apply(tr)
	if got := b.expectReads("just applied", tr, b.list(tr.ID), 2); got != "" {
		t.Errorf("schedules that may change within the same second are verified: %s", got)
	}
	b.Now = func() time.Time { return time.Now().Add(settleTime + time.Second) }
	if got := b.expectReads("without a listing", tr, Listed{}, 2); got != "" {
		t.Errorf("schedules that are not listed are verified: %s", got)
	}
	stale := b.list(tr.ID)
	second := stale[tr.ID+second]
	second.LastModificationDate = aws.Time(second.LastModificationDate.Add(-time.Hour))
	stale[tr.ID+".2"] = second
	if got := b.expectReads("with a listing that lags", tr, stale, 2); got != "" {
		t.Errorf("schedules that have changed since are verified: %s", got)
	}
	if tr.Verified = b.expectReads("an hour later", tr, b.list(tr.ID), 2); tr.Verified == "" {
		t.Error("nothing was verified")
	}
	b.expectReads("verified", tr, b.list(tr.ID), 0)
	b.expectReads("verified, in a listing that lacks them", tr, Listed{}, 2)

	for what, change := range map[string]func(*Schedules, *trigger.Trigger, Listed){
		"another container": func(_ *Schedules, t *trigger.Trigger, _ Listed) { t.ContainerID = "other" },
		"another hour": func(_ *Schedules, t *trigger.Trigger, _ Listed) {
			t.Cron = &trigger.Cron{Schedule: "0 1 1 * 1", Timezone: "UTC"}
		},
		"another role":       func(s *Schedules, _ *trigger.Trigger, _ Listed) { s.RoleARN = "other" },
		"another function":   func(s *Schedules, _ *trigger.Trigger, _ Listed) { s.TargetARN = "other" },
		"another queue":      func(s *Schedules, _ *trigger.Trigger, _ Listed) { s.DeadLetterARN = "other" },
		"a missing schedule": func(_ *Schedules, t *trigger.Trigger, l Listed) { delete(l, t.ID) },
		"a disabled schedule": func(_ *Schedules, t *trigger.Trigger, l Listed) {
			changed := l[t.ID]
			changed.State = types.ScheduleStateDisabled
			l[t.ID] = changed
		},
	} {
		s, tr, listed := b.Schedules, tr, b.list(tr.ID)
		client := &counted{API: b.client}
		s.Client = client
		change(&s, &tr, listed)
		if _, _, err := s.Drifted(t.Context(), tr, listed); err != nil || client.reads == 0 {
			t.Errorf("%s: %d reads, %v", what, client.reads, err)
		}
	}
}
