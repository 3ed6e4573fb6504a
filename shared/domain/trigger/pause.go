package trigger

import (
	"fmt"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/cron"
	"containertriggers/shared/domain/run"
)

// Paused reports whether the trigger is paused: it makes no call for an event.
func (t Trigger) Paused() bool { return !t.PausedAt.IsZero() }

// Pause returns t paused since now, for the reason that the body gives. If t is paused
// already, Pause returns t with the same generation. The error is an *apierr.Error. It names
// every fault of the body, or says that t is being deleted.
func (t Trigger) Pause(body []byte, now time.Time) (Trigger, error) {
	var faults apierr.Arguments
	object := request.Parse(body, &faults)
	object.Only("reason")
	reason := ""
	if given := object.String("reason"); given != nil {
		reason = request.Description(&faults, "reason", *given)
	}
	if err := faults.Err(); err != nil || t.Paused() {
		return t, err
	}
	return t.setPaused(timestamp.Truncate(now), reason, now)
}

// CatchUp says which of the occurrences that a pause left out run after it.
type CatchUp string

// The values of catch_up.
const (
	CatchUpNone CatchUp = "none"
	CatchUpLast CatchUp = "last"
	CatchUpAll  CatchUp = "all"
)

// maxCatchUp is the number of occurrences that a catch-up of all runs at most.
const maxCatchUp = 1000

// Resume returns t as it is without a pause, and what the body says of the occurrences that
// the pause left out. If t is not paused, Resume returns t with the same generation. The
// errors are those of [Trigger.Pause].
func (t Trigger) Resume(body []byte, now time.Time) (Trigger, CatchUp, error) {
	var faults apierr.Arguments
	object := request.Parse(body, &faults)
	object.Only("catch_up")
	catchUp := CatchUpNone
	if given := object.Enum("catch_up", string(CatchUpNone), string(CatchUpLast), string(CatchUpAll)); given != nil {
		catchUp = CatchUp(*given)
	}
	if catchUp != CatchUpNone && t.Cron == nil {
		faults.Add("catch_up", apierr.Constraint, "must be none, because only a cron trigger has occurrences; messages that wait need no catch-up")
	}
	if err := faults.Err(); err != nil || !t.Paused() {
		return t, catchUp, err
	}
	resumed, err := t.setPaused(time.Time{}, "", now)
	return resumed, catchUp, err
}

func (t Trigger) setPaused(at time.Time, reason string, now time.Time) (Trigger, error) {
	if t.Status == Deleting {
		return t, apierr.TransientState(Resource, t.ID, string(t.Status))
	}
	t.PausedAt, t.PauseReason = at, reason
	t.Generation++
	t.UpdatedAt = timestamp.Next(t.UpdatedAt, now)
	return t, nil
}

// Missed returns the runs that catch up what the trigger's pause has left out until now, the
// oldest first. A run has the key that its occurrence would have had, so that it happens
// once. The error is an *apierr.Error if there are too many.
func (t Trigger) Missed(catchUp CatchUp, now time.Time) ([]run.Run, error) {
	if t.Cron == nil || !t.Paused() || catchUp == CatchUpNone {
		return nil, nil
	}
	schedule, err := cron.Parse(t.Cron.Schedule)
	if err != nil {
		return nil, fmt.Errorf("parsing the schedule of trigger %s: %w", t.ID, err)
	}
	zone, err := cron.LoadZone(t.Cron.Timezone)
	if err != nil {
		return nil, fmt.Errorf("loading the time zone of trigger %s: %w", t.ID, err)
	}
	if catchUp == CatchUpLast {
		last := schedule.Last(t.PausedAt, now, zone)
		if last.IsZero() {
			return nil, nil
		}
		return []run.Run{t.missed(last)}, nil
	}
	var all []run.Run
	for at := schedule.Next(t.PausedAt, zone); !at.IsZero() && !at.After(now); at = schedule.Next(at, zone) {
		if len(all) == maxCatchUp {
			return nil, apierr.InvalidArgument("catch_up", apierr.Constraint, fmt.Sprintf("must be none or last, because the pause left out more than %d occurrences", maxCatchUp))
		}
		all = append(all, t.missed(at))
	}
	return all, nil
}

// missed returns the run of an occurrence that a pause has left out.
func (t Trigger) missed(at time.Time) run.Run {
	its := Occurrence{TriggerID: t.ID, ContainerID: t.ContainerID, ScheduledTime: at.UTC()}.Run(t)
	sent := t.Request()
	its.Origin, its.Request = run.CatchUp, &sent
	return its
}

// Message returns the trigger's error_message as the API and events have it. That of a paused
// trigger begins with the pause.
func (t Trigger) Message() string {
	if !t.Paused() {
		return t.ErrorMessage
	}
	text := "paused since " + t.PausedAt.UTC().Format(time.RFC3339)
	if t.PauseReason != "" {
		text += ": " + t.PauseReason
	}
	if t.NATS != nil {
		text += "; messages on a subject of core NATS are lost until the trigger is resumed, those of a stream wait"
	}
	if t.Status == Error {
		text += "; " + t.ErrorMessage
	}
	return text
}
