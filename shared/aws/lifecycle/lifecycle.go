// Package lifecycle sends events about triggers to an EventBridge bus, so that users can
// act on them. An event may be sent twice. No event holds a secret.
package lifecycle

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/run"
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
	TriggerChanged   = "Trigger Changed"
	TriggerRunFailed = "Trigger Run Failed"
	// InvocationFailed is the former name of TriggerRunFailed. Both are sent for one release.
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
	// RunID is the ID of a failed run, and Occurrence its scheduled time, or the time at which
	// its message was sent.
	RunID      string          `json:"run_id,omitempty"`
	Occurrence *timestamp.Time `json:"occurrence,omitempty"`
	// Operation, AccessKey and ChangedAt say what was done through the API, with which key and
	// when.
	Operation auth.Operation  `json:"operation,omitempty"`
	AccessKey string          `json:"access_key,omitempty"`
	ChangedAt *timestamp.Time `json:"changed_at,omitempty"`
}

// StatusChanged sends Trigger Error if the trigger is in error, and Trigger Ready otherwise.
// It returns an error if EventBridge does not accept the event.
func (b Bus) StatusChanged(ctx context.Context, t trigger.Trigger) error {
	detailType := TriggerReady
	if t.Status == trigger.Error {
		detailType = TriggerError
	}
	return b.put(ctx, t, newDetail(t), detailType)
}

// PauseChanged sends Trigger Paused if the trigger is paused, and Trigger Resumed otherwise.
func (b Bus) PauseChanged(ctx context.Context, t trigger.Trigger) error {
	detailType := TriggerResumed
	if t.Paused() {
		detailType = TriggerPaused
	}
	return b.put(ctx, t, newDetail(t), detailType)
}

// Deleted sends Trigger Deleted. Call it once the trigger's source is removed.
func (b Bus) Deleted(ctx context.Context, t trigger.Trigger) error {
	return b.put(ctx, t, newDetail(t), TriggerDeleted)
}

// Changed sends Trigger Changed for the trigger's last change through the API.
func (b Bus) Changed(ctx context.Context, t trigger.Trigger) error {
	detail := newDetail(t)
	detail.Operation, detail.AccessKey, detail.ChangedAt = t.LastChange.Operation, t.LastChange.AccessKey, (*timestamp.Time)(&t.LastChange.At)
	return b.put(ctx, t, detail, TriggerChanged)
}

// RunFailed sends Trigger Run Failed, and Invocation Failed, for an occurrence or a message
// that is given up. The message says how the last call failed.
func (b Bus) RunFailed(ctx context.Context, t trigger.Trigger, its run.Run, message string) error {
	detail := newDetail(t)
	detail.ErrorMessage, detail.RunID, detail.Occurrence = message, its.ID(), (*timestamp.Time)(&its.ScheduledAt)
	return b.put(ctx, t, detail, TriggerRunFailed, InvocationFailed)
}

func newDetail(t trigger.Trigger) Detail {
	return Detail{
		TriggerID: t.ID, Path: t.Path(), Name: t.Name, Region: t.Region, OrganizationID: t.OrganizationID,
		ProjectID: t.ProjectID, ContainerID: t.ContainerID, SourceType: t.Source(), Status: t.Status, ErrorMessage: t.Message(),
	}
}

// put sends an event of each type.
func (b Bus) put(ctx context.Context, t trigger.Trigger, detail Detail, detailTypes ...string) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("encoding the event %q: %w", detailTypes[0], err)
	}
	entries := make([]types.PutEventsRequestEntry, len(detailTypes))
	for i := range detailTypes {
		entries[i] = types.PutEventsRequestEntry{
			EventBusName: &b.Name, Source: aws.String(Source), DetailType: &detailTypes[i],
			Resources: []string{t.Path()}, Detail: aws.String(string(text)),
		}
	}
	answer, err := b.Client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: entries})
	if err != nil {
		return fmt.Errorf("putting the event %q: %w", detailTypes[0], err)
	}
	for i, entry := range answer.Entries {
		if entry.ErrorCode != nil {
			return fmt.Errorf("putting the event %q: %s: %s", detailTypes[i], *entry.ErrorCode, aws.ToString(entry.ErrorMessage))
		}
	}
	return nil
}
