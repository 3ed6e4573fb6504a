package trigger

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"containertriggers/shared/contract/request"
	"containertriggers/shared/domain/cron"
	"containertriggers/shared/domain/run"
)

// Occurrence is one firing of a cron trigger's schedule.
type Occurrence struct {
	TriggerID string `json:"trigger_id"`
	// ContainerID lets the dispatcher read the rows of the trigger and of its container in
	// one round trip. It never changes.
	ContainerID string `json:"container_id"`
	// ScheduledTime is the time of the schedule, not of the delivery.
	ScheduledTime time.Time `json:"scheduled_time"`
	// Schedule and Timezone are the settings of the trigger when EventBridge's schedule was
	// created. They are empty if an older version created the schedule.
	Schedule string `json:"schedule,omitempty"`
	Timezone string `json:"timezone,omitempty"`
	// Filter is the filter of the expression that fired.
	Filter cron.Filter `json:"filter,omitempty"`
}

// ParseOccurrence parses the event of a schedule. It returns an error if a field is missing
// or invalid.
func ParseOccurrence(event []byte) (Occurrence, error) {
	var o Occurrence
	if err := json.Unmarshal(event, &o); err != nil {
		return Occurrence{}, fmt.Errorf("parsing an occurrence: %w", err)
	}
	for name, id := range map[string]string{"trigger_id": o.TriggerID, "container_id": o.ContainerID} {
		if _, ok := request.CanonicalUUID(id); !ok {
			return Occurrence{}, fmt.Errorf("parsing an occurrence: %s %q is not a UUID", name, id)
		}
	}
	if o.ScheduledTime.IsZero() {
		return Occurrence{}, errors.New("parsing an occurrence: scheduled_time is missing")
	}
	if !o.Filter.Valid() {
		return Occurrence{}, fmt.Errorf("parsing an occurrence: filter %q is unknown", o.Filter)
	}
	o.ScheduledTime = o.ScheduledTime.UTC().Truncate(time.Minute)
	return o, nil
}

// Minute returns the scheduled minute as text. The trigger and the minute identify the
// occurrence.
func (o Occurrence) Minute() string {
	return o.ScheduledTime.Format(time.RFC3339)
}

// EventID returns the ID of the event that the container receives for the occurrence.
func (o Occurrence) EventID() string { return o.TriggerID + "/" + o.Minute() }

// Run returns the run of the occurrence for its trigger. It has not begun.
func (o Occurrence) Run(t Trigger) run.Run {
	return run.Run{
		Key:         run.Key{TriggerID: o.TriggerID, Event: o.Minute()},
		ContainerID: o.ContainerID, Region: t.Region, Owner: t.Owner,
		Origin: run.Schedule, EventID: o.EventID(), ScheduledAt: o.ScheduledTime,
	}
}

// Current reports whether the occurrence comes from the trigger's present settings. Two
// notations of one schedule are the same setting.
//
// An occurrence without settings is current unless the trigger changed after the scheduled
// time. In that case reconcile replaces EventBridge's schedule.
func (o Occurrence) Current(t Trigger) bool {
	switch {
	case t.Cron == nil:
		return false
	case o.Schedule == "":
		return t.Status != Updating && !o.ScheduledTime.Before(t.UpdatedAt)
	case o.Timezone != t.Cron.Timezone:
		return false
	case o.Schedule == t.Cron.Schedule:
		return true
	}
	before, err := cron.Parse(o.Schedule)
	if err != nil {
		return false
	}
	now, err := cron.Parse(t.Cron.Schedule)
	return err == nil && before == now
}

// Passes reports whether the scheduled time passes the filter of the expression that fired.
// The error is a *cron.Error.
func (o Occurrence) Passes() (bool, error) {
	if o.Filter == cron.NoFilter {
		return true, nil
	}
	schedule, err := cron.Parse(o.Schedule)
	if err != nil {
		return false, err
	}
	zone, err := cron.LoadZone(o.Timezone)
	if err != nil {
		return false, err
	}
	return schedule.Passes(o.Filter, o.ScheduledTime, zone), nil
}
