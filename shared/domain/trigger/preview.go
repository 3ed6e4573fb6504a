package trigger

import (
	"fmt"
	"net/url"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/cron"
)

// The default and the largest number of next runs.
const (
	defaultNextRuns = 10
	maxNextRuns     = 100
)

// The years of which EventBridge Scheduler knows the times (EventBridge Scheduler User Guide,
// "Schedule types", cron-based schedules).
const (
	firstYear = 1970
	lastYear  = 2199
)

// NextRuns says in words and in times when a trigger will call its container. It has the
// form of the API.
type NextRuns struct {
	// Description is the schedule in words, with its time zone. It is empty if the trigger's
	// source is not cron.
	Description string    `json:"description"`
	Timezone    string    `json:"timezone"`
	NextRuns    []NextRun `json:"next_runs"`
}

// NextRun is one scheduled time.
type NextRun struct {
	ScheduledAt timestamp.Time `json:"scheduled_at"`
	// Note says what a change of the clock means for this run or for those that would have
	// come before it. It is mostly empty.
	Note string `json:"note"`
}

// NextRuns returns the next runs after a time, up to count. It returns no runs if the
// trigger's source is not cron, or if the trigger is paused or being deleted. It returns an
// error if the stored schedule does not parse.
func (t Trigger) NextRuns(after time.Time, count int) (NextRuns, error) {
	if t.Cron == nil {
		return NextRuns{NextRuns: []NextRun{}}, nil
	}
	schedule, err := cron.Parse(t.Cron.Schedule)
	if err != nil {
		return NextRuns{}, fmt.Errorf("parsing the schedule of trigger %s: %w", t.ID, err)
	}
	zone, err := cron.LoadZone(t.Cron.Timezone)
	if err != nil {
		return NextRuns{}, fmt.Errorf("loading the time zone of trigger %s: %w", t.ID, err)
	}
	answer := NextRuns{
		Description: schedule.Describe() + ", " + t.Cron.Timezone, Timezone: t.Cron.Timezone, NextRuns: []NextRun{},
	}
	if t.Status == Deleting || t.Paused() {
		return answer, nil
	}
	for _, found := range schedule.Upcoming(after, zone, count) {
		answer.NextRuns = append(answer.NextRuns, NextRun{timestamp.Time(found.At), found.Note})
	}
	return answer, nil
}

// CountOfNextRuns returns the query's parameter count, or the default if there is none. The
// error names every fault of the query.
func CountOfNextRuns(query url.Values) (int, error) {
	p := request.Query{Values: query}
	p.Only("count")
	count := p.Number("count", defaultNextRuns, maxNextRuns)
	return count, p.Faults.Err()
}

// Preview returns the next runs of the schedule in a request's body, after the time that the
// body names or after now. The error names every fault of the body.
func Preview(body []byte, now time.Time) (NextRuns, error) {
	var faults apierr.Arguments
	object := request.Parse(body, &faults)
	object.Only("schedule", "timezone", "count", "after")
	schedule, timezone := object.String("schedule"), object.String("timezone")
	request.Required(&faults, "schedule", schedule)
	config := Cron{Timezone: defaultTimezone}
	if schedule != nil {
		config.Schedule = checkSchedule(&faults, "schedule", *schedule)
	}
	if timezone != nil {
		config.Timezone = checkTimezone(&faults, "timezone", *timezone)
	}
	count := uint64(defaultNextRuns)
	if given := object.Number("count", 1, maxNextRuns); given != nil {
		count = *given
	}
	if given := object.String("after"); given != nil {
		after, err := time.Parse(time.RFC3339, *given)
		if year := after.UTC().Year(); err != nil || year < firstYear || year > lastYear {
			faults.Add("after", apierr.Format, fmt.Sprintf("must be a time of the years %d to %d, such as 2026-11-25T08:00:00Z", firstYear, lastYear))
		}
		now = after
	}
	if err := faults.Err(); err != nil {
		return NextRuns{}, err
	}
	return Trigger{Cron: &config}.NextRuns(now, int(count))
}
