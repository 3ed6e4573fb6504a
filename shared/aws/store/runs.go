package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/run"
)

// ErrClaimed is the error of a claim on an event that another delivery holds, or that is
// delivered.
var ErrClaimed = errors.New("the event is claimed")

// Runs is the table of runs. A run's row is also an idempotency record: it says which
// delivery holds the event. So a run that succeeds at once costs two writes.
type Runs struct {
	Client *dynamodb.Client
	Table  string
	// Retention is how long a run is kept. It must exceed the time for which Scheduler
	// (24 h) and Lambda (6 h) retry.
	Retention time.Duration
}

// Days returns a retention of that many days.
func Days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// Claim is a delivery's claim on the event of a run.
type Claim struct {
	// Holder names the delivery. Its retries have the same name.
	Holder string
	// Until is the time at which the claim ends, if the delivery dies.
	Until time.Time
}

// Claim takes an idempotency lock on the event of a run, so that duplicate deliveries call
// the container once, and sets the run's state to running. It returns how often the event
// was claimed, or ErrClaimed if another holder's
// lock is still valid, or if the event is delivered. A failed run can be claimed again, and a
// queued one by anybody.
func (r Runs) Claim(ctx context.Context, next run.Run, claim Claim) (claims int, err error) {
	row := newRunRow(next)
	row.State, row.ExpiresAt = run.Running, next.StartedAt.Add(r.Retention).Unix()
	set := "SET #container_id = :container_id, #region = :region, #organization_id = :organization_id, #project_id = :project_id, " +
		"#origin = :origin, #event_id = :event_id, #scheduled_at = :scheduled_at, #started_at = :started_at, " +
		"#state = :state, #expires_at = :expires_at, #holder = :holder, #claimed_until = :until " +
		"REMOVE #terminated_at, #reason, #message, #failed_owner, #deleted ADD #claims :one"
	before, values := states(run.Running.Before())
	condition := "attribute_not_exists(#trigger_id) OR (#state IN (" + before + ") AND (#state IN (:failed, :queued) OR #holder = :holder OR #claimed_until < :now))"
	maps.Copy(values, map[string]any{
		"container_id": row.ContainerID, "region": row.Region, "organization_id": row.OrganizationID, "project_id": row.ProjectID,
		"origin": row.Origin, "event_id": row.EventID, "scheduled_at": row.ScheduledAt, "started_at": row.StartedAt,
		"state": row.State, "expires_at": row.ExpiresAt, "holder": claim.Holder, "until": timestamp.Time(claim.Until),
		"now": row.StartedAt, "one": 1,
	})
	encoded, err := encodeValues(values)
	if err != nil {
		return 0, err
	}
	answer, err := write(ctx, r.Client.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &r.Table, Key: runKey(next.Key),
		UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(set + " " + condition), ExpressionAttributeValues: encoded,
		ReturnValues: types.ReturnValueAllNew,
	})
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return 0, ErrClaimed
	}
	if err != nil {
		return 0, fmt.Errorf("claiming %s of trigger %s: %w", next.Event, next.TriggerID, err)
	}
	claimed, err := decodeRow[runRow](answer.Attributes)
	return claimed.Claims, err
}

// Enqueue stores a run that somebody asked for, with its request, and sets its state to
// queued. It may be queued again after the time until. Enqueue returns ErrClaimed if the run
// exists.
func (r Runs) Enqueue(ctx context.Context, its run.Run, now, until time.Time) error {
	row := newRunRow(its)
	row.State, row.Request, row.ExpiresAt, row.ClaimedUntil = run.Queued, its.Request, now.Add(r.Retention).Unix(), optional(until)
	item, err := encode(row)
	if err != nil {
		return err
	}
	_, err = write(ctx, r.Client.PutItem, &dynamodb.PutItemInput{
		TableName: &r.Table, Item: item,
		ConditionExpression: aws.String("attribute_not_exists(#trigger_id)"), ExpressionAttributeNames: placeholders("#trigger_id"),
	})
	if _, exists := errors.AsType[*types.ConditionalCheckFailedException](err); exists {
		return ErrClaimed
	}
	if err != nil {
		return fmt.Errorf("queueing %s of trigger %s: %w", its.Event, its.TriggerID, err)
	}
	return nil
}

// Requeue sets the state of a run to queued, which may then be queued again after the time
// until. It returns ErrClaimed if the run is queued, or a delivery holds its event.
func (r Runs) Requeue(ctx context.Context, id run.Key, now, until time.Time) error {
	set := "SET #state = :queued, #claimed_until = :until REMOVE #terminated_at, #reason, #message, #failed_owner"
	condition := "attribute_exists(#trigger_id) AND attribute_not_exists(#deleted) AND (#state IN (:succeeded, :failed) OR #claimed_until < :now)"
	values, err := encodeValues(map[string]any{
		"queued": run.Queued, "until": timestamp.Time(until), "now": timestamp.Time(now), "succeeded": run.Succeeded, "failed": run.Failed,
	})
	if err != nil {
		return err
	}
	_, err = write(ctx, r.Client.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &r.Table, Key: runKey(id), UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(set + " " + condition), ExpressionAttributeValues: values,
	})
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return ErrClaimed
	}
	if err != nil {
		return fmt.Errorf("queueing %s of trigger %s again: %w", id.Event, id.TriggerID, err)
	}
	return nil
}

// states returns the placeholders of states for an expression, and their values.
func states(list []run.State) (placeholders string, values map[string]any) {
	names := make([]string, len(list))
	values = map[string]any{}
	for i, state := range list {
		names[i], values[string(state)] = ":"+string(state), state
	}
	return strings.Join(names, ", "), values
}

// Report says how one delivery of an event ended.
type Report struct {
	State    run.State
	Attempts []run.Attempt
	// Request is kept unless the state is succeeded.
	Request *run.Request
	// At is the time at which the delivery ended.
	At time.Time
}

// Last returns the last attempt of the delivery, or none if there was no attempt.
func (r Report) Last() run.Attempt {
	if len(r.Attempts) == 0 {
		return run.Attempt{}
	}
	return r.Attempts[len(r.Attempts)-1]
}

// Record stores how the holder's delivery ended. It does nothing if another delivery has
// taken over the claim.
func (r Runs) Record(ctx context.Context, to run.Run, holder string, report Report) error {
	last := report.Last()
	set := "SET #state = :state, #attempts = list_append(if_not_exists(#attempts, :none), :attempts)"
	values := map[string]any{
		"state": report.State, "none": []attemptRow{}, "attempts": convert(report.Attempts, newAttemptRow), "count": len(report.Attempts), "holder": holder,
	}
	if report.State.Ended() {
		set += ", #terminated_at = :at"
		values["at"] = timestamp.Time(report.At)
	}
	if report.State != run.Succeeded {
		set += ", #reason = :reason, #message = :message, #request = :request"
		values["reason"], values["message"], values["request"] = last.Reason, last.Error, report.Request
	}
	if report.State == run.Failed {
		set += ", #failed_owner = :owner, #expires_at = :expires"
		values["owner"] = ownerKey(to.Region, to.Owner.OrganizationID)
		values["expires"] = report.At.Add(max(r.Retention, run.FailedRetention)).Unix()
	}
	encoded, err := encodeValues(values)
	if err != nil {
		return err
	}
	set += " ADD #count :count"
	_, err = write(ctx, r.Client.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &r.Table, Key: runKey(to.Key),
		UpdateExpression: &set, ConditionExpression: aws.String("#holder = :holder"),
		ExpressionAttributeNames: placeholders(set + " #holder"), ExpressionAttributeValues: encoded,
	})
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recording %s of trigger %s: %w", to.Event, to.TriggerID, err)
	}
	return nil
}

// GiveUp stores that AWS will not deliver the event of a run again, at the time
// TerminatedAt and with its Message. It creates the run if no delivery has claimed the
// event. It does nothing if the run has ended.
func (r Runs) GiveUp(ctx context.Context, given run.Run) error {
	row := newRunRow(given)
	set := "SET #container_id = :container_id, #region = :region, #organization_id = :organization_id, #project_id = :project_id, " +
		"#origin = :origin, #event_id = :event_id, #scheduled_at = :scheduled_at, #terminated_at = :terminated_at, " +
		"#state = :failed, #message = :message, #reason = if_not_exists(#reason, :reason), #failed_owner = :owner, #expires_at = :expires_at"
	before, values := states(run.Failed.Before())
	condition := "attribute_not_exists(#trigger_id) OR #state IN (" + before + ")"
	maps.Copy(values, map[string]any{
		"container_id": row.ContainerID, "region": row.Region, "organization_id": row.OrganizationID, "project_id": row.ProjectID,
		"origin": row.Origin, "event_id": row.EventID, "scheduled_at": row.ScheduledAt, "terminated_at": row.TerminatedAt,
		"message": given.Message, "reason": run.NotStarted, "owner": ownerKey(row.Region, row.OrganizationID),
		"expires_at": given.TerminatedAt.Add(max(r.Retention, run.FailedRetention)).Unix(), "failed": run.Failed,
	})
	encoded, err := encodeValues(values)
	if err != nil {
		return err
	}
	_, err = write(ctx, r.Client.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &r.Table, Key: runKey(given.Key),
		UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(set + " " + condition), ExpressionAttributeValues: encoded,
	})
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return nil
	}
	if err != nil {
		return fmt.Errorf("giving up %s of trigger %s: %w", given.Event, given.TriggerID, err)
	}
	return nil
}

// Get returns a run. It returns an error that is ErrNotFound if the run does not exist or
// is deleted.
func (r Runs) Get(ctx context.Context, id run.Key) (run.Run, error) {
	answer, err := r.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &r.Table, Key: runKey(id), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return run.Run{}, fmt.Errorf("reading %s of trigger %s: %w", id.Event, id.TriggerID, err)
	}
	row, err := decodeRow[runRow](answer.Item)
	if err == nil && (len(answer.Item) == 0 || row.Deleted) {
		err = notFound(run.Resource, id.ID())
	}
	return row.run(), err
}

// Delete deletes what a run says about its calls. The row stays until it expires, because
// AWS may deliver the event again. It returns a *apierr.Error if the run has not ended.
func (r Runs) Delete(ctx context.Context, id run.Key) error {
	set := "SET #deleted = :true REMOVE #attempts, #request, #message, #reason, #failed_owner"
	condition := "#state IN (:succeeded, :failed) AND attribute_not_exists(#deleted)"
	values, err := encodeValues(map[string]any{"true": true, "succeeded": run.Succeeded, "failed": run.Failed})
	if err != nil {
		return err
	}
	_, err = write(ctx, r.Client.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &r.Table, Key: runKey(id), UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(set + " " + condition), ExpressionAttributeValues: values,
	})
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		found, err := r.Get(ctx, id)
		if err != nil {
			return err
		}
		return apierr.TransientState(run.Resource, id.ID(), string(found.State))
	}
	if err != nil {
		return fmt.Errorf("deleting %s of trigger %s: %w", id.Event, id.TriggerID, err)
	}
	return nil
}

const (
	// byFailed is the index of the failed runs of an organization.
	byFailed = "by-failed"
	// mostExamined is the number of runs that one list reads at most. A page may then have
	// fewer runs than were asked for, and another one follows.
	mostExamined = 1000
)

// List returns a page of runs, newest first, and the position after which the next page
// begins. It is nil after the last page.
func (r Runs) List(ctx context.Context, q run.Query) (page []run.Run, next *run.Key, err error) {
	from, to := bounds(q)
	// DynamoDB refuses a range without a value, and a page that begins outside of the range.
	if from > to || q.Position != (run.Key{}) && q.Position.Event < from {
		return nil, nil, nil
	}
	if q.Position.Event > to {
		q.Position = run.Key{}
	}
	input, err := r.query(q, from, to)
	if err != nil {
		return nil, nil, err
	}
	for examined := 0; ; {
		answer, err := r.Client.Query(ctx, input)
		if err != nil {
			return nil, nil, fmt.Errorf("listing %s: %w", r.Table, err)
		}
		found, err := r.found(ctx, q, answer.Items)
		if err != nil {
			return nil, nil, err
		}
		for _, one := range found {
			examined++
			if q.TriggerID != "" && !q.Owns(one.run()) {
				return nil, nil, nil // all runs of a trigger have one owner
			}
			if !one.Deleted && q.Matches(one.run()) {
				page = append(page, one.run())
			}
			if len(page) == q.PageSize {
				last := one.Key()
				return page, &last, nil
			}
		}
		if len(answer.LastEvaluatedKey) == 0 {
			return page, nil, nil
		}
		if examined >= mostExamined {
			last, err := decodeRow[runRow](answer.LastEvaluatedKey)
			position := last.Key()
			return page, &position, err
		}
		input.ExclusiveStartKey = answer.LastEvaluatedKey
	}
}

// bounds returns the bounds of the events of a query. An event's text begins with its time
// in whole seconds, and "~" sorts after everything that may follow.
func bounds(q run.Query) (from, to string) {
	from, to = " ", "~"
	if !q.After.IsZero() {
		from = q.After.Add(time.Second - time.Nanosecond).Format(time.RFC3339)
	}
	if !q.Before.IsZero() {
		to = q.Before.Add(-time.Nanosecond).Format(time.RFC3339) + "~"
	}
	return from, to
}

// query returns the query of the first runs of a page.
func (r Runs) query(q run.Query, from, to string) (*dynamodb.QueryInput, error) {
	condition, values := "#trigger_id = :trigger", map[string]any{"trigger": q.TriggerID}
	input := &dynamodb.QueryInput{TableName: &r.Table, ScanIndexForward: aws.Bool(false), Limit: aws.Int32(int32(q.PageSize))} //nolint:gosec // at most 100
	if q.TriggerID == "" {
		input.IndexName = aws.String(byFailed)
		condition, values = "#failed_owner = :owner", map[string]any{"owner": ownerKey(q.Region, q.OrganizationID)}
	}
	condition += " AND #event BETWEEN :from AND :to"
	values["from"], values["to"] = from, to
	encoded, err := encodeValues(values)
	if err != nil {
		return nil, err
	}
	input.KeyConditionExpression, input.ExpressionAttributeNames, input.ExpressionAttributeValues = &condition, placeholders(condition), encoded
	if q.Position != (run.Key{}) {
		input.ExclusiveStartKey = runKey(q.Position)
		if q.TriggerID == "" {
			input.ExclusiveStartKey["failed_owner"] = encoded[":owner"]
		}
	}
	return input, nil
}
