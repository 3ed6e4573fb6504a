// Package occurrence is what travels from a cron trigger's schedule to
// dispatch-schedule: which trigger, which container, which minute.
package occurrence

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"containertriggers/shared/check"
)

// Occurrence is one time that a cron trigger is due.
type Occurrence struct {
	TriggerID string `json:"trigger_id"`
	// ContainerID never changes for a trigger; having it here lets the
	// dispatcher read both rows in one round trip.
	ContainerID string `json:"container_id"`
	// ScheduledTime is when the schedule was due, not when it was delivered.
	ScheduledTime time.Time `json:"scheduled_time"`
}

// Parse reads an occurrence from the event that a schedule sends.
func Parse(event []byte) (Occurrence, error) {
	var o Occurrence
	if err := json.Unmarshal(event, &o); err != nil {
		return Occurrence{}, fmt.Errorf("reading an occurrence: %w", err)
	}
	for name, id := range map[string]string{"trigger_id": o.TriggerID, "container_id": o.ContainerID} {
		if _, ok := check.CanonicalUUID(id); !ok {
			return Occurrence{}, fmt.Errorf("reading an occurrence: %s %q is not a UUID", name, id)
		}
	}
	if o.ScheduledTime.IsZero() {
		return Occurrence{}, errors.New("reading an occurrence: scheduled_time is missing")
	}
	o.ScheduledTime = o.ScheduledTime.UTC().Truncate(time.Minute)
	return o, nil
}

// Minute is the scheduled minute as text, which with the trigger identifies the
// occurrence.
func (o Occurrence) Minute() string {
	return o.ScheduledTime.Format(time.RFC3339)
}

// Input is what a schedule of the trigger sends: an [Occurrence] whose time
// EventBridge Scheduler fills in (User Guide, "Adding context attributes").
func Input(triggerID, containerID string) string {
	return fmt.Sprintf(`{"trigger_id":%q,"container_id":%q,"scheduled_time":"<aws.scheduler.scheduled-time>"}`, triggerID, containerID)
}
