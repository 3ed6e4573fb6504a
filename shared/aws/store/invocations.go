package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/contract/timestamp"
)

// ErrClaimed is the error of a claim on an occurrence that another delivery holds, or
// that is delivered.
var ErrClaimed = errors.New("the occurrence is claimed")

// Outcome is the state of an occurrence's delivery.
type Outcome string

// The outcomes.
const (
	// Claimed means that a delivery holds the occurrence, or died while it held it.
	Claimed Outcome = "claimed"
	// Delivered means that the container accepted the occurrence. It is final.
	Delivered Outcome = "delivered"
	// Failed means that the calls failed. The next delivery retries them.
	Failed Outcome = "failed"
	// Exhausted means that the last delivery failed. An operator may replay the occurrence,
	// which claims it again.
	Exhausted Outcome = "exhausted"
)

// retention is how long the row of an occurrence lasts. It must exceed the time for which
// Scheduler (24 h) and Lambda (6 h) retry. A week also lets an operator examine a failure
// after the weekend.
const retention = 7 * 24 * time.Hour

// Invocations is the table of occurrences. Each row is an idempotency record. It says
// which delivery holds the occurrence, and how the delivery ended.
type Invocations struct {
	Client *dynamodb.Client
	Table  string
}

// Claim takes an idempotency lock on an occurrence until the time given, so that
// duplicate deliveries call the container once. It returns how often the occurrence was
// claimed. It returns ErrClaimed if another holder's lock is still valid, or if the
// occurrence is delivered. An exhausted occurrence can be claimed again.
func (i Invocations) Claim(ctx context.Context, triggerID, occurrence, holder string, now, until time.Time) (claims int, err error) {
	set := "SET #holder = :holder, #claimed_until = :until, #outcome = :claimed, #expires_at = :expires ADD #claims :one"
	condition := "attribute_not_exists(#trigger_id) OR (#outcome <> :delivered AND " +
		"(#holder = :holder OR #claimed_until < :now OR #outcome = :exhausted))"
	values, err := encodeValues(map[string]any{
		"holder": holder, "until": timestamp.Time(until), "now": timestamp.Time(now), "expires": now.Add(retention).Unix(),
		"claimed": Claimed, "delivered": Delivered, "exhausted": Exhausted, "one": 1,
	})
	if err != nil {
		return 0, err
	}
	answer, err := write(ctx, i.Client.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &i.Table, Key: invocationKey(triggerID, occurrence),
		UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(set + " " + condition), ExpressionAttributeValues: values,
		ReturnValues: types.ReturnValueAllNew,
	})
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return 0, ErrClaimed
	}
	if err != nil {
		return 0, fmt.Errorf("claiming %s of trigger %s: %w", occurrence, triggerID, err)
	}
	var row struct {
		Claims int `json:"claims"`
	}
	err = decode(answer.Attributes, &row)
	return row.Claims, err
}

// Report says how one delivery of an occurrence ended.
type Report struct {
	Outcome Outcome
	// Attempts is the number of calls that this delivery made. Latency is the time
	// that the last one took.
	Attempts int
	Latency  time.Duration
	// Message says how the last call failed. It is empty if the call succeeded.
	Message string
}

// Record stores how the holder's delivery ended. It does nothing if another delivery
// has taken over the claim.
func (i Invocations) Record(ctx context.Context, triggerID, occurrence, holder string, report Report) error {
	set := "SET #outcome = :outcome, #latency_ms = :latency, #message = :message ADD #attempts :attempts"
	values, err := encodeValues(map[string]any{
		"outcome": report.Outcome, "latency": report.Latency.Milliseconds(), "message": report.Message,
		"attempts": report.Attempts, "holder": holder,
	})
	if err != nil {
		return err
	}
	_, err = write(ctx, i.Client.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &i.Table, Key: invocationKey(triggerID, occurrence),
		UpdateExpression: &set, ConditionExpression: aws.String("#holder = :holder"),
		ExpressionAttributeNames: placeholders(set + " #holder"), ExpressionAttributeValues: values,
	})
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recording %s of trigger %s: %w", occurrence, triggerID, err)
	}
	return nil
}

// Outcome returns the outcome of an occurrence, or "" if no delivery has claimed it.
func (i Invocations) Outcome(ctx context.Context, triggerID, occurrence string) (Outcome, error) {
	answer, err := i.Client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &i.Table, Key: invocationKey(triggerID, occurrence), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return "", fmt.Errorf("reading %s of trigger %s: %w", occurrence, triggerID, err)
	}
	row, err := decodeRow[struct {
		Outcome Outcome `json:"outcome"`
	}](answer.Item)
	return row.Outcome, err
}

func invocationKey(triggerID, occurrence string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"trigger_id": &types.AttributeValueMemberS{Value: triggerID},
		"occurrence": &types.AttributeValueMemberS{Value: occurrence},
	}
}
