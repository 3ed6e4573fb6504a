// Package lifecycle tells users what becomes of their triggers, as events on an
// EventBridge bus. An event may come twice; none holds a secret.
package lifecycle

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"containertriggers/shared/trigger"
	"containertriggers/shared/wiretime"
)

// Source is the source of every event.
const Source = "container-triggers"

// The detail types.
const (
	TriggerReady     = "Trigger Ready"
	TriggerError     = "Trigger Error"
	TriggerDeleted   = "Trigger Deleted"
	InvocationFailed = "Invocation Failed"
)

// API is what a Bus needs of the EventBridge client.
type API interface {
	PutEvents(context.Context, *eventbridge.PutEventsInput, ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error)
}

// Bus is the bus that the events go to.
type Bus struct {
	Client API
	Name   string
}

// Detail is the detail of every event.
type Detail struct {
	TriggerID      string         `json:"trigger_id"`
	Path           string         `json:"path"`
	Name           string         `json:"name"`
	Region         string         `json:"region"`
	OrganizationID string         `json:"organization_id"`
	ProjectID      string         `json:"project_id"`
	ContainerID    string         `json:"container_id"`
	SourceType     trigger.Source `json:"source_type"`
	Status         trigger.Status `json:"status"`
	ErrorMessage   string         `json:"error_message"`
	// Occurrence is the scheduled time of a failed invocation, or when its message
	// was sent.
	Occurrence *wiretime.Time `json:"occurrence,omitempty"`
}

// StatusChanged tells that a trigger became ready or failed.
func (b Bus) StatusChanged(ctx context.Context, t trigger.Trigger) error {
	detailType := TriggerReady
	if t.Status == trigger.Error {
		detailType = TriggerError
	}
	return b.put(ctx, detailType, t, newDetail(t))
}

// Deleted tells that nothing is left of a trigger.
func (b Bus) Deleted(ctx context.Context, t trigger.Trigger) error {
	return b.put(ctx, TriggerDeleted, t, newDetail(t))
}

// InvocationFailed tells that an occurrence or a message was given up, and how
// its last call failed.
func (b Bus) InvocationFailed(ctx context.Context, t trigger.Trigger, occurrence time.Time, message string) error {
	detail := newDetail(t)
	detail.ErrorMessage, detail.Occurrence = message, (*wiretime.Time)(&occurrence)
	return b.put(ctx, InvocationFailed, t, detail)
}

func newDetail(t trigger.Trigger) Detail {
	return Detail{
		TriggerID: t.ID, Path: t.Path(), Name: t.Name, Region: t.Region, OrganizationID: t.OrganizationID,
		ProjectID: t.ProjectID, ContainerID: t.ContainerID, SourceType: t.Source(), Status: t.Status, ErrorMessage: t.ErrorMessage,
	}
}

func (b Bus) put(ctx context.Context, detailType string, t trigger.Trigger, detail Detail) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("encoding the event %q: %w", detailType, err)
	}
	answer, err := b.Client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		EventBusName: &b.Name, Source: aws.String(Source), DetailType: &detailType,
		Resources: []string{t.Path()}, Detail: aws.String(string(text)),
	}}})
	if err != nil {
		return fmt.Errorf("putting the event %q: %w", detailType, err)
	}
	if answer.FailedEntryCount > 0 {
		return fmt.Errorf("putting the event %q: %s: %s", detailType,
			aws.ToString(answer.Entries[0].ErrorCode), aws.ToString(answer.Entries[0].ErrorMessage))
	}
	return nil
}
