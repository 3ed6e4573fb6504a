package trigger

import (
	"encoding/json"

	"containertriggers/shared/wiretime"
)

// MarshalJSON gives the trigger as the API answers it: the fields in the
// contract's order, the source's config last, and no secret.
func (t Trigger) MarshalJSON() ([]byte, error) {
	answer := struct {
		ID           string        `json:"id"`
		Name         string        `json:"name"`
		Description  string        `json:"description"`
		Tags         []string      `json:"tags"`
		Status       Status        `json:"status"`
		ErrorMessage *string       `json:"error_message,omitempty"`
		ContainerID  string        `json:"container_id"`
		Destination  Destination   `json:"destination_config"`
		SourceType   Source        `json:"source_type"`
		CreatedAt    wiretime.Time `json:"created_at"`
		UpdatedAt    wiretime.Time `json:"updated_at"`
		Cron         *Cron         `json:"cron_config,omitempty"`
		SQS          *SQS          `json:"sqs_config,omitempty"`
		NATS         *NATS         `json:"nats_config,omitempty"`
	}{
		ID: t.ID, Name: t.Name, Description: t.Description, Tags: t.Tags, Status: t.Status,
		ContainerID: t.ContainerID, Destination: t.Destination, SourceType: t.Source(),
		CreatedAt: wiretime.Time(t.CreatedAt), UpdatedAt: wiretime.Time(t.UpdatedAt),
		Cron: t.Cron, SQS: t.SQS, NATS: t.NATS,
	}
	if !t.Status.Transient() {
		answer.ErrorMessage = &t.ErrorMessage
	}
	return json.Marshal(answer)
}
