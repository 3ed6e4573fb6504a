package table

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/wiretime"
)

// ErrClaimed says that the occurrence is another's to deliver, or is delivered.
var ErrClaimed = errors.New("the occurrence is claimed")

// Outcome is where the delivery of an occurrence stands.
type Outcome string

// The outcomes.
const (
	// Claimed is being delivered, or was when its function died.
	Claimed Outcome = "claimed"
	// Delivered is final.
	Delivered Outcome = "delivered"
	// Failed will be tried again by whoever holds it.
	Failed Outcome = "failed"
	// Exhausted was given up. It may be claimed again: somebody replays it.
	Exhausted Outcome = "exhausted"
)

// kept is for how long an occurrence is remembered. It must be longer than
// Scheduler (24 h) and Lambda (6 h) go on delivering it; a week lets people look
// into a failure after the weekend.
const kept = 7 * 24 * time.Hour

// Invocations is the table of occurrences: who delivers them, and how it went.
type Invocations struct {
	Client *dynamodb.Client
	Table  string
}

// Claim makes an occurrence the holder's, until then at the longest, and counts
// how often it was claimed. The holder's own claim, one whose time has passed
// and one that was given up can be claimed anew; any other is [ErrClaimed]. That
// is what makes one call of an occurrence that is delivered twice.
func (i Invocations) Claim(ctx context.Context, triggerID, occurrence, holder string, now, until time.Time) (claims int, err error) {
	set := "SET #holder = :holder, #claimed_until = :until, #outcome = :claimed, #expires_at = :expires ADD #claims :one"
	condition := "attribute_not_exists(#trigger_id) OR (#outcome <> :delivered AND " +
		"(#holder = :holder OR #claimed_until < :now OR #outcome = :exhausted))"
	values, err := encodeValues(map[string]any{
		"holder": holder, "until": wiretime.Time(until), "now": wiretime.Time(now), "expires": now.Add(kept).Unix(),
		"claimed": Claimed, "delivered": Delivered, "exhausted": Exhausted, "one": 1,
	})
	if err != nil {
		return 0, err
	}
	answer, err := i.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
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

// Report is how one delivery of an occurrence went.
type Report struct {
	Outcome Outcome
	// Attempts is how many calls this delivery made, Latency how long the last
	// of them took.
	Attempts int
	Latency  time.Duration
	// Message is how the last call failed, empty where it did not.
	Message string
}

// Record notes how the holder's delivery went. A claim that another has taken
// over meanwhile is left to that one.
func (i Invocations) Record(ctx context.Context, triggerID, occurrence, holder string, report Report) error {
	set := "SET #outcome = :outcome, #latency_ms = :latency, #message = :message ADD #attempts :attempts"
	values, err := encodeValues(map[string]any{
		"outcome": report.Outcome, "latency": report.Latency.Milliseconds(), "message": report.Message,
		"attempts": report.Attempts, "holder": holder,
	})
	if err != nil {
		return err
	}
	_, err = i.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
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

func invocationKey(triggerID, occurrence string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"trigger_id": &types.AttributeValueMemberS{Value: triggerID},
		"occurrence": &types.AttributeValueMemberS{Value: occurrence},
	}
}
