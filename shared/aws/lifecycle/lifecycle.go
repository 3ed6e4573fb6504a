// Package lifecycle sends events about triggers to an EventBridge bus, so that users can
// act on them. An event may be sent twice. No event holds a secret.
package lifecycle

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/trigger"
)

// Source is the "source" field of every event.
const Source = "container-triggers"

// The detail types of the events.
const (
	TriggerReady     = "Trigger Ready"
	TriggerError     = "Trigger Error"
	TriggerPaused    = "Trigger Paused"
	TriggerResumed   = "Trigger Resumed"
	TriggerDeleted   = "Trigger Deleted"
	InvocationFailed = "Invocation Failed"
)

// API is the part of the EventBridge client that [Bus] uses.
type API interface {
	PutEvents(context.Context, *eventbridge.PutEventsInput, ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error)
}

// Bus sends events to one EventBridge bus.
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
	// Occurrence is the scheduled time of a failed invocation, or the time at which
	// its message was sent.
	Occurrence *timestamp.Time `json:"occurrence,omitempty"`
}

// StatusChanged sends Trigger Error if the trigger is in error, and Trigger Ready otherwise.
// It returns an error if EventBridge does not accept the event.
func (b Bus) StatusChanged(ctx context.Context, t trigger.Trigger) error {
	detailType := TriggerReady
	if t.Status == trigger.Error {
		detailType = TriggerError
	}
	return b.put(ctx, detailType, t, newDetail(t))
}

// PauseChanged sends Trigger Paused if the trigger is paused, and Trigger Resumed otherwise.
func (b Bus) PauseChanged(ctx context.Context, t trigger.Trigger) error {
	detailType := TriggerResumed
	if t.Paused() {
		detailType = TriggerPaused
	}
	return b.put(ctx, detailType, t, newDetail(t))
}

// Deleted sends Trigger Deleted. Call it once the trigger's source is removed.
func (b Bus) Deleted(ctx context.Context, t trigger.Trigger) error {
	return b.put(ctx, TriggerDeleted, t, newDetail(t))
}

// InvocationFailed sends Invocation Failed for an occurrence or a message that is given
// up. The message says how the last call failed.
func (b Bus) InvocationFailed(ctx context.Context, t trigger.Trigger, occurrence time.Time, message string) error {
	detail := newDetail(t)
	detail.ErrorMessage, detail.Occurrence = message, (*timestamp.Time)(&occurrence)
	return b.put(ctx, InvocationFailed, t, detail)
}

func newDetail(t trigger.Trigger) Detail {
	return Detail{
		TriggerID: t.ID, Path: t.Path(), Name: t.Name, Region: t.Region, OrganizationID: t.OrganizationID,
		ProjectID: t.ProjectID, ContainerID: t.ContainerID, SourceType: t.Source(), Status: t.Status, ErrorMessage: t.Message(),
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
