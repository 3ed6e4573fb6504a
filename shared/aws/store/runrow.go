package store

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/run"
)

// runRow is the row of a run.
type runRow struct {
	TriggerID      string          `json:"trigger_id"`
	Event          string          `json:"event"`
	ContainerID    string          `json:"container_id"`
	Region         string          `json:"region"`
	OrganizationID string          `json:"organization_id"`
	ProjectID      string          `json:"project_id"`
	Origin         run.Origin      `json:"origin"`
	EventID        string          `json:"event_id"`
	ScheduledAt    timestamp.Time  `json:"scheduled_at"`
	StartedAt      *timestamp.Time `json:"started_at,omitempty"`
	TerminatedAt   *timestamp.Time `json:"terminated_at,omitempty"`
	State          run.State       `json:"state"`
	Reason         run.Reason      `json:"reason,omitempty"`
	Message        string          `json:"message,omitempty"`
	Request        *run.Request    `json:"request,omitempty"`
	Count          int             `json:"count"`
	Attempts       []attemptRow    `json:"attempts"`
	ExpiresAt      int64           `json:"expires_at"`
	// Claims is how often deliveries have claimed the event.
	Claims       int             `json:"claims"`
	ClaimedUntil *timestamp.Time `json:"claimed_until,omitempty"`
	Deleted      bool            `json:"deleted,omitempty"`
}

// attemptRow is an attempt in the row of its run.
type attemptRow struct {
	Manual     bool              `json:"manual,omitempty"`
	StartedAt  timestamp.Time    `json:"started_at"`
	DurationMS int64             `json:"duration_ms"`
	HTTPStatus int               `json:"http_status,omitempty"`
	Reason     run.Reason        `json:"reason,omitempty"`
	Error      string            `json:"error,omitempty"`
	Header     map[string]string `json:"header,omitempty"`
	Body       string            `json:"body,omitempty"`
	Truncated  bool              `json:"truncated,omitempty"`
	NextAt     *timestamp.Time   `json:"next_at,omitempty"`
}

// runKey is the primary key of a run's row.
func runKey(id run.Key) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"trigger_id": &types.AttributeValueMemberS{Value: id.TriggerID},
		"event":      &types.AttributeValueMemberS{Value: id.Event},
	}
}

// Key returns the run's key.
func (r runRow) Key() run.Key { return run.Key{TriggerID: r.TriggerID, Event: r.Event} }

func newRunRow(r run.Run) runRow {
	return runRow{
		TriggerID: r.TriggerID, Event: r.Event, ContainerID: r.ContainerID, Region: r.Region,
		OrganizationID: r.Owner.OrganizationID, ProjectID: r.Owner.ProjectID, Origin: r.Origin, EventID: r.EventID,
		ScheduledAt: timestamp.Time(r.ScheduledAt), StartedAt: optional(r.StartedAt), TerminatedAt: optional(r.TerminatedAt),
		Attempts: []attemptRow{}, // not NULL, to which DynamoDB appends nothing
	}
}

// setIdentity sets what a run is, which no delivery changes, and identity returns its values.
const setIdentity = "#container_id = :container_id, #region = :region, #organization_id = :organization_id, #project_id = :project_id, " +
	"#origin = :origin, #event_id = :event_id, #scheduled_at = :scheduled_at"

func (r runRow) identity() map[string]any {
	return map[string]any{
		"container_id": r.ContainerID, "region": r.Region, "organization_id": r.OrganizationID, "project_id": r.ProjectID,
		"origin": r.Origin, "event_id": r.EventID, "scheduled_at": r.ScheduledAt,
	}
}

func (r runRow) run() run.Run {
	attempts := r.Attempts[max(0, len(r.Attempts)-run.MaxAttempts):]
	return run.Run{
		Key: r.Key(), ContainerID: r.ContainerID, Region: r.Region,
		Owner:  auth.Owner{OrganizationID: r.OrganizationID, ProjectID: r.ProjectID},
		Origin: r.Origin, State: r.State, Reason: r.Reason, Message: r.Message, EventID: r.EventID,
		ScheduledAt: time.Time(r.ScheduledAt), StartedAt: orZero(r.StartedAt), TerminatedAt: orZero(r.TerminatedAt),
		Count: r.Count, Attempts: convert(attempts, attemptRow.attempt), Request: r.Request, ExpiresAt: time.Unix(r.ExpiresAt, 0).UTC(),
	}
}

func newAttemptRow(a run.Attempt) attemptRow {
	return attemptRow{
		Manual: a.Manual, StartedAt: timestamp.Time(a.StartedAt), DurationMS: a.Duration.Milliseconds(), HTTPStatus: a.HTTPStatus,
		Reason: a.Reason, Error: a.Error, Header: a.Answer.Header, Body: a.Answer.Body, Truncated: a.Answer.Truncated, NextAt: optional(a.NextAt),
	}
}

func (r attemptRow) attempt() run.Attempt {
	return run.Attempt{
		Manual: r.Manual, StartedAt: time.Time(r.StartedAt), Duration: time.Duration(r.DurationMS) * time.Millisecond, HTTPStatus: r.HTTPStatus,
		Reason: r.Reason, Error: r.Error, Answer: run.Answer{Header: r.Header, Body: r.Body, Truncated: r.Truncated}, NextAt: orZero(r.NextAt),
	}
}

// optional returns nil for the zero time.
func optional(t time.Time) *timestamp.Time {
	if t.IsZero() {
		return nil
	}
	at := timestamp.Time(t)
	return &at
}

// orZero returns the zero time for nil.
func orZero(t *timestamp.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return time.Time(*t)
}

// found returns the rows of a query's items, in their order. The index has only keys, so
// found reads its rows from the table.
func (r Runs) found(ctx context.Context, q run.Query, items []map[string]types.AttributeValue) ([]runRow, error) {
	rows := make([]runRow, len(items))
	for i, item := range items {
		if err := decode(item, &rows[i]); err != nil {
			return nil, err
		}
	}
	if q.TriggerID != "" || len(items) == 0 {
		return rows, nil
	}
	wanted := types.KeysAndAttributes{}
	for _, row := range rows {
		wanted.Keys = append(wanted.Keys, runKey(row.Key()))
	}
	current, failed := map[run.Key]runRow{}, error(nil)
	err := batchGet(ctx, r.Client, map[string]types.KeysAndAttributes{r.Table: wanted}, func(_ string, item map[string]types.AttributeValue) {
		row, err := decodeRow[runRow](item)
		if err != nil {
			failed = err
		}
		current[row.Key()] = row
	})
	for i, row := range rows {
		if is, ok := current[row.Key()]; ok {
			rows[i] = is
		} else {
			rows[i].Deleted = true // it expired meanwhile
		}
	}
	if err == nil {
		err = failed
	}
	return rows, err
}
