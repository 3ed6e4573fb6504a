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
	set := "SET " + setIdentity + ", #started_at = :started_at, #state = :state, #expires_at = :expires_at, #holder = :holder, #claimed_until = :until " +
		"REMOVE #terminated_at, #reason, #message, #failed_owner, #deleted ADD #claims :one"
	before, values := states(run.Running.Before())
	condition := "attribute_not_exists(#trigger_id) OR (#state IN (" + before + ") AND (#state IN (:failed, :queued) OR #holder = :holder OR #claimed_until < :now))"
	maps.Copy(values, row.identity())
	maps.Copy(values, map[string]any{
		"started_at": row.StartedAt, "state": run.Running, "expires_at": next.StartedAt.Add(r.Retention).Unix(),
		"holder": claim.Holder, "until": timestamp.Time(claim.Until), "now": row.StartedAt, "one": 1,
	})
	claimed, err := r.update(ctx, next.Key, set, condition, values)
	if errors.Is(err, ErrSuperseded) {
		return 0, ErrClaimed
	}
	if err != nil {
		return 0, fmt.Errorf("claiming %s of trigger %s: %w", next.Event, next.TriggerID, err)
	}
	return claimed.Claims, nil
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
	_, err := r.update(ctx, id, set, condition, map[string]any{
		"queued": run.Queued, "until": timestamp.Time(until), "now": timestamp.Time(now), "succeeded": run.Succeeded, "failed": run.Failed,
	})
	if errors.Is(err, ErrSuperseded) {
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
	// Reason and Message say why the event is given up if the report has no attempts.
	Reason  run.Reason
	Message string
	// Request is kept unless the state is succeeded.
	Request *run.Request
	// At is the time at which the delivery ended.
	At time.Time
	// Hidden is true if the trigger's history does not have the run. Its row then keeps only
	// the claim.
	Hidden bool
}

// Last returns the last attempt of the delivery, or none if there was no attempt.
func (r Report) Last() run.Attempt {
	if len(r.Attempts) == 0 {
		return run.Attempt{Reason: r.Reason, Error: r.Message}
	}
	return r.Attempts[len(r.Attempts)-1]
}

// outcome returns the expression that stores how a delivery ended, and its values.
func (r Runs) outcome(to run.Run, report Report) (set string, values map[string]any) {
	last := report.Last()
	set, values = "SET #state = :state", map[string]any{"state": report.State, "count": len(report.Attempts)}
	if report.State.Ended() {
		set += ", #terminated_at = :at"
		values["at"] = timestamp.Time(report.At)
	}
	kept := r.Retention
	if report.State == run.Failed {
		kept = max(r.Retention, run.FailedRetention)
	}
	set += ", #expires_at = :expires"
	values["expires"] = report.At.Add(kept).Unix()
	if report.Hidden {
		values["true"] = true
		return set + ", #deleted = :true ADD #count :count", values
	}
	set += ", #attempts = list_append(if_not_exists(#attempts, :none), :attempts)"
	values["none"], values["attempts"] = []attemptRow{}, convert(report.Attempts, newAttemptRow)
	if report.State != run.Succeeded {
		set += ", #reason = :reason, #message = :message, #request = :request"
		values["reason"], values["message"], values["request"] = last.Reason, last.Error, report.Request
	}
	if report.State == run.Failed {
		set += ", #failed_owner = :owner"
		values["owner"] = ownerKey(to.Region, to.Owner.OrganizationID)
	}
	return set + " ADD #count :count", values
}

// Record stores how the holder's delivery ended. It does nothing if another delivery has
// taken over the claim.
func (r Runs) Record(ctx context.Context, to run.Run, holder string, report Report) error {
	set, values := r.outcome(to, report)
	values["holder"] = holder
	_, err := r.update(ctx, to.Key, set, "#holder = :holder", values)
	if err != nil && !errors.Is(err, ErrSuperseded) {
		return fmt.Errorf("recording %s of trigger %s: %w", to.Event, to.TriggerID, err)
	}
	return nil
}

// Delivered stores how a call for a message ended. It does nothing if somebody replays the
// run, if the run has succeeded, or if it was deleted. If existing is true, it also does
// nothing if no earlier call is stored.
func (r Runs) Delivered(ctx context.Context, to run.Run, report Report, existing bool) error {
	row := newRunRow(to)
	set, values := r.outcome(to, report)
	maps.Copy(values, row.identity())
	values["started_at"], values["retrying"], values["failed"] = row.StartedAt, run.Retrying, run.Failed
	set = strings.Replace(set, "SET ", "SET "+setIdentity+", #started_at = :started_at, ", 1)
	switch report.State {
	case run.Succeeded:
		set += " REMOVE #reason, #message, #failed_owner"
	case run.Retrying:
		set += " REMOVE #terminated_at, #failed_owner"
	}
	condition := "#state IN (:retrying, :failed) AND attribute_not_exists(#deleted)"
	if !existing {
		condition = "attribute_not_exists(#trigger_id) OR (" + condition + ")"
	}
	after, err := r.update(ctx, to.Key, set, condition, values)
	if errors.Is(err, ErrSuperseded) {
		return nil
	}
	if err == nil {
		err = r.trim(ctx, to.Key, after)
	}
	if err != nil {
		return fmt.Errorf("recording %s of trigger %s: %w", to.Event, to.TriggerID, err)
	}
	return nil
}

// trimAt is the number of attempts in a row at which trim deletes the oldest. It is larger
// than [run.MaxAttempts], so that a trim is rare.
const trimAt = run.MaxAttempts + 10

// trim deletes the attempts of a row that no answer has, because a queue may deliver a
// message a thousand times.
func (r Runs) trim(ctx context.Context, id run.Key, row runRow) error {
	if len(row.Attempts) < trimAt {
		return nil
	}
	oldest := make([]string, len(row.Attempts)-run.MaxAttempts)
	for i := range oldest {
		oldest[i] = fmt.Sprintf("#attempts[%d]", i)
	}
	_, err := r.update(ctx, id, "REMOVE "+strings.Join(oldest, ", "), "#count = :count", map[string]any{"count": row.Count})
	if errors.Is(err, ErrSuperseded) {
		return nil // whoever added an attempt meanwhile trims
	}
	return err
}

// update changes the row of a run if a condition holds, and returns the attributes that it
// has changed. It returns ErrSuperseded if the condition does not hold.
func (r Runs) update(ctx context.Context, id run.Key, set, condition string, values map[string]any) (changed runRow, err error) {
	encoded, err := encodeValues(values)
	if err != nil {
		return runRow{}, err
	}
	answer, err := write(ctx, r.Client.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &r.Table, Key: runKey(id), UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(set + " " + condition), ExpressionAttributeValues: encoded,
		ReturnValues: types.ReturnValueUpdatedNew,
	})
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return runRow{}, ErrSuperseded
	}
	if err != nil {
		return runRow{}, err
	}
	return decodeRow[runRow](answer.Attributes)
}

// GiveUp stores that AWS will not deliver the event of a run again, at the time
// TerminatedAt and with its Message. It creates the run if no delivery has claimed the
// event. It does nothing if the run has ended.
func (r Runs) GiveUp(ctx context.Context, given run.Run) error {
	row := newRunRow(given)
	set := "SET " + setIdentity + ", #terminated_at = :terminated_at, " +
		"#state = :failed, #message = :message, #reason = if_not_exists(#reason, :reason), #failed_owner = :owner, #expires_at = :expires_at"
	before, values := states(run.Failed.Before())
	condition := "attribute_not_exists(#trigger_id) OR #state IN (" + before + ")"
	maps.Copy(values, row.identity())
	maps.Copy(values, map[string]any{
		"terminated_at": row.TerminatedAt, "message": given.Message, "reason": run.NotStarted, "owner": ownerKey(row.Region, row.OrganizationID),
		"expires_at": given.TerminatedAt.Add(max(r.Retention, run.FailedRetention)).Unix(), "failed": run.Failed,
	})
	if _, err := r.update(ctx, given.Key, set, condition, values); err != nil && !errors.Is(err, ErrSuperseded) {
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

// Last returns the run of a trigger's newest event that is not deleted, or nil if there is
// none among the newest mostExamined.
func (r Runs) Last(ctx context.Context, triggerID string) (*run.Run, error) {
	input := &dynamodb.QueryInput{
		TableName: &r.Table, KeyConditionExpression: aws.String("#trigger_id = :trigger"), FilterExpression: aws.String("attribute_not_exists(#deleted)"),
		ExpressionAttributeNames:  placeholders("#trigger_id #deleted"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":trigger": &types.AttributeValueMemberS{Value: triggerID}},
		ScanIndexForward:          aws.Bool(false), Limit: aws.Int32(1),
	}
	for examined := 0; examined < mostExamined; {
		answer, err := r.Client.Query(ctx, input)
		if err != nil {
			return nil, fmt.Errorf("reading the last run of trigger %s: %w", triggerID, err)
		}
		if len(answer.Items) > 0 {
			row, err := decodeRow[runRow](answer.Items[0])
			last := row.run()
			return &last, err
		}
		if len(answer.LastEvaluatedKey) == 0 {
			break
		}
		examined += int(answer.ScannedCount)
		// The first page is one row, because the newest run is mostly there. The next is larger.
		input.ExclusiveStartKey, input.Limit = answer.LastEvaluatedKey, aws.Int32(100)
	}
	return nil, nil
}

// Delete deletes what a run says about its calls. The row stays until it expires, because
// AWS may deliver the event again. It returns a *apierr.Error if the run has not ended.
func (r Runs) Delete(ctx context.Context, id run.Key) error {
	set := "SET #deleted = :true REMOVE #attempts, #request, #message, #reason, #failed_owner"
	condition := "#state IN (:succeeded, :failed) AND attribute_not_exists(#deleted)"
	_, err := r.update(ctx, id, set, condition, map[string]any{"true": true, "succeeded": run.Succeeded, "failed": run.Failed})
	if errors.Is(err, ErrSuperseded) {
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
