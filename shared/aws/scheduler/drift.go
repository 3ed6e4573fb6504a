package scheduler

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"containertriggers/shared/domain/cron"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/awserr"
)

// Listed are schedules by their names, as ListSchedules answers them. It has a schedule's
// state, target function and date of the last change, but not its expression or input.
type Listed map[string]types.ScheduleSummary

// maxResults is the largest page of ListSchedules (API Reference, "ListSchedules").
const maxResults = 100

// List returns the schedules of the group on at most that many pages of 100. The first page
// comes after "", and next is "" after the last one.
func (s Schedules) List(ctx context.Context, after string, pages int) (listed Listed, next string, err error) {
	listed = Listed{}
	input := &scheduler.ListSchedulesInput{GroupName: &s.Group, MaxResults: aws.Int32(maxResults)}
	if after != "" {
		input.NextToken = &after
	}
	for range pages {
		page, err := s.Client.ListSchedules(ctx, input)
		if err != nil {
			return nil, "", fmt.Errorf("listing schedules: %w", err)
		}
		for _, summary := range page.Schedules {
			listed[aws.ToString(summary.Name)] = summary
		}
		if input.NextToken = page.NextToken; input.NextToken == nil {
			break
		}
	}
	return listed, aws.ToString(input.NextToken), nil
}

// TriggerIDs returns the IDs of the triggers that have the schedules, sorted.
func (l Listed) TriggerIDs() []string {
	ids := make([]string, 0, len(l))
	for name := range l {
		ids = append(ids, strings.TrimSuffix(name, second))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// settleTime is the age at which a date of change identifies a version of a schedule.
// A change in the same second may have the same date.
const settleTime = time.Minute

// Drifted reports whether the schedules of a cron trigger differ from those that Apply
// makes. They differ if an operator has deleted, changed, disabled or added one, or if an
// earlier version of the service made them.
//
// The caller passes schedules that [Schedules.List] returned. If these and the trigger's
// config are those that t.Verified identifies, Drifted makes no call. Otherwise it reads the
// trigger's schedules. If they match, it returns the new value of t.Verified. The value is ""
// as long as the schedules have not settled.
func (s Schedules) Drifted(ctx context.Context, t trigger.Trigger, listed Listed) (drifted bool, verified string, err error) {
	expressions, err := expressions(t)
	if err != nil {
		return true, "", nil //nolint:nilerr // this version refuses the config, and Apply returns the reason
	}
	verified = s.identify(t, expressions, listed)
	if verified != "" && verified == t.Verified {
		return false, verified, nil
	}
	for i, name := range names(t.ID) {
		found, err := s.Client.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: &name, GroupName: &s.Group})
		switch missing := awserr.NotFound(err); {
		case err != nil && !missing:
			return false, "", fmt.Errorf("reading schedule %s: %w", name, err)
		case missing != (i >= len(expressions)):
			return true, "", nil
		case missing:
			continue
		}
		wanted := expressions[i]
		if !upToDate(found, stateOf(t), wanted, s.target(t, wanted.Filter)) {
			return true, "", nil
		}
		changed := aws.ToTime(found.LastModificationDate)
		if !changed.Equal(aws.ToTime(listed[name].LastModificationDate)) || s.Now().Sub(changed) < settleTime {
			verified = ""
		}
	}
	return false, verified, nil
}

// identify returns a hash of what Apply makes for a trigger, and of the dates at which its
// schedules were last changed. It returns "" if the listed schedules cannot be those that Apply
// makes.
func (s Schedules) identify(t trigger.Trigger, expressions []cron.Expression, listed Listed) string {
	type schedule struct {
		State      types.ScheduleState
		Expression cron.Expression
		Target     *types.Target
		Changed    time.Time
	}
	var all []schedule
	for i, name := range names(t.ID) {
		summary, found := listed[name]
		switch {
		case found != (i < len(expressions)):
			return ""
		case !found:
			continue
		case summary.State != stateOf(t) || summary.Target == nil || aws.ToString(summary.Target.Arn) != s.TargetARN:
			return ""
		}
		all = append(all, schedule{summary.State, expressions[i], s.target(t, expressions[i].Filter), aws.ToTime(summary.LastModificationDate).UTC()})
	}
	encoded, err := json.Marshal(all)
	if err != nil {
		return "" // the schedules are read instead
	}
	sum := sha256.Sum256(encoded)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// upToDate reports whether a schedule has the settings that put makes. If a request omits
// them, AWS fills in the retry policy, so target sets it, and ActionAfterCompletion, which
// becomes NONE. It leaves the other settings unset (API Reference, "CreateSchedule"). The
// description does not matter for deliveries.
func upToDate(found *scheduler.GetScheduleOutput, state types.ScheduleState, wanted cron.Expression, target *types.Target) bool {
	return found.State == state && reflect.DeepEqual(found.Target, target) &&
		aws.ToString(found.ScheduleExpression) == wanted.Cron && aws.ToString(found.ScheduleExpressionTimezone) == wanted.Timezone &&
		found.FlexibleTimeWindow != nil && found.FlexibleTimeWindow.Mode == types.FlexibleTimeWindowModeOff &&
		found.StartDate == nil && found.EndDate == nil && aws.ToString(found.KmsKeyArn) == "" &&
		found.ActionAfterCompletion != types.ActionAfterCompletionDelete
}
