package trigger

import (
	"encoding/json"

	"containertriggers/shared/contract/srn"
	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/run"
)

// LastRun is the run of a trigger's newest event. Its Run is nil if there is none.
type LastRun struct{ *run.Run }

// MarshalJSON returns the last run as the API answers it in a trigger, or null.
func (l LastRun) MarshalJSON() ([]byte, error) {
	if l.Run == nil {
		return []byte("null"), nil
	}
	return json.Marshal(l.Brief())
}

// MarshalJSON returns the trigger as the API answers it, without its secret. The fields
// have the order of the contract; those that the original does not have come last.
func (t Trigger) MarshalJSON() ([]byte, error) {
	answer := struct {
		ID           string         `json:"id"`
		Name         string         `json:"name"`
		Description  string         `json:"description"`
		Tags         []string       `json:"tags"`
		Status       Status         `json:"status"`
		ErrorMessage *string        `json:"error_message,omitempty"`
		ContainerID  string         `json:"container_id"`
		Destination  Destination    `json:"destination_config"`
		SourceType   Source         `json:"source_type"`
		CreatedAt    timestamp.Time `json:"created_at"`
		UpdatedAt    timestamp.Time `json:"updated_at"`
		Region       string         `json:"region"`
		SRN          string         `json:"srn"`
		Cron         *Cron          `json:"cron_config,omitempty"`
		SQS          *SQS           `json:"sqs_config,omitempty"`
		NATS         *NATS          `json:"nats_config,omitempty"`

		PausedAt    *timestamp.Time `json:"paused_at"`
		PauseReason string          `json:"pause_reason"`
		NextRunAt   *timestamp.Time `json:"next_run_at"`
		LastRun     *LastRun        `json:"last_run,omitempty"`
		Delivery    Delivery        `json:"delivery_config"`
	}{
		ID: t.ID, Name: t.Name, Description: t.Description, Tags: t.Tags, Status: t.Status,
		ContainerID: t.ContainerID, Destination: t.Destination, SourceType: t.Source(),
		CreatedAt: timestamp.Time(t.CreatedAt), UpdatedAt: timestamp.Time(t.UpdatedAt),
		Region: t.Region, SRN: srn.Of(t.Domain, t.Region, "triggers", t.ID),
		Cron: t.Cron, SQS: t.SQS, NATS: t.NATS,
		PauseReason: t.PauseReason, LastRun: t.LastRun, Delivery: t.Effective(),
	}
	if t.Paused() {
		answer.PausedAt = (*timestamp.Time)(&t.PausedAt)
	}
	if !t.AnsweredAt.IsZero() {
		next, err := t.NextRuns(t.AnsweredAt, 1)
		if err != nil {
			return nil, err
		}
		if len(next.NextRuns) > 0 {
			answer.NextRunAt = &next.NextRuns[0].ScheduledAt
		}
	}
	if !t.Status.Transient() {
		message := t.Message()
		answer.ErrorMessage = &message
	}
	return json.Marshal(answer)
}
