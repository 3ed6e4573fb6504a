package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Claims is the table of what one alone may have: a queue belongs to one trigger.
// It also holds what a function must remember between its runs.
type Claims struct {
	Client *dynamodb.Client
	Table  string
}

// QueueClaim says whose a queue is.
type QueueClaim struct {
	// Queue is the queue's ARN.
	Queue       string `json:"name"`
	TriggerID   string `json:"trigger_id"`
	ContainerID string `json:"container_id"`
	// QueueURL is that of the trigger's config when it claimed the queue: a trigger
	// whose config has moved on is not to get the queue's messages any more.
	QueueURL string `json:"queue_url"`
	// MaxReceives is that of the queue's redrive policy, 0 where it has none.
	MaxReceives int `json:"max_receives"`
	// Waiting are triggers that would have the queue too.
	Waiting []string `json:"waiting,omitempty"`
}

// ClaimedError says that a queue belongs to another trigger.
type ClaimedError struct{ TriggerID string }

func (e *ClaimedError) Error() string { return "the queue is claimed by trigger " + e.TriggerID }

// Queue reads whose a queue is. [ErrNotFound] where it is nobody's.
func (c Claims) Queue(ctx context.Context, queueARN string) (QueueClaim, error) {
	answer, err := c.Client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &c.Table, Key: claimKey(queueARN), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return QueueClaim{}, fmt.Errorf("reading the claim on %s: %w", queueARN, err)
	}
	if answer.Item == nil {
		return QueueClaim{}, ErrNotFound
	}
	return decodeRow[QueueClaim](answer.Item)
}

// Claim makes a queue the trigger's. A queue that is its own already is claimed
// anew. A *[ClaimedError] where it is another's; the trigger is then noted as
// waiting for it.
func (c Claims) Claim(ctx context.Context, claim QueueClaim) error {
	for range conflictTries {
		err := c.claim(ctx, claim)
		if failed := failedConditions(err); len(failed) == 0 || !failed[0] {
			return err
		}
		holder, err := c.Queue(ctx, claim.Queue)
		if errors.Is(err, ErrNotFound) {
			continue // it was let go just now
		}
		if err != nil {
			return err
		}
		if err := c.wait(ctx, holder, claim.TriggerID); !errors.Is(err, ErrSuperseded) {
			return errors.Join(err, &ClaimedError{holder.TriggerID})
		}
	}
	return fmt.Errorf("claiming %s: it changes hands all the time", claim.Queue)
}

func (c Claims) claim(ctx context.Context, claim QueueClaim) error {
	set := "SET #trigger_id = :trigger, #container_id = :container, #queue_url = :url, #max_receives = :receives"
	condition := "attribute_not_exists(#trigger_id) OR #trigger_id = :trigger"
	values, err := encodeValues(map[string]any{
		"trigger": claim.TriggerID, "container": claim.ContainerID, "url": claim.QueueURL, "receives": claim.MaxReceives,
	})
	if err != nil {
		return err
	}
	err = transact(ctx, c.Client, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Update: &types.Update{
			TableName: &c.Table, Key: claimKey(claim.Queue), UpdateExpression: &set, ConditionExpression: &condition,
			ExpressionAttributeNames: placeholders(set + " " + condition), ExpressionAttributeValues: values,
		}},
		c.changeHeld(claim.TriggerID, "ADD", claim.Queue),
	}})
	if err != nil {
		return fmt.Errorf("claiming %s for trigger %s: %w", claim.Queue, claim.TriggerID, err)
	}
	return nil
}

// wait notes a trigger as waiting for the queue while its holder has it.
func (c Claims) wait(ctx context.Context, held QueueClaim, triggerID string) error {
	if slices.Contains(held.Waiting, triggerID) {
		return nil
	}
	add, condition := "ADD #waiting :waiting", "#trigger_id = :holder"
	_, err := c.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &c.Table, Key: claimKey(held.Queue), UpdateExpression: &add, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(add + " " + condition),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":waiting": &types.AttributeValueMemberSS{Value: []string{triggerID}},
			":holder":  &types.AttributeValueMemberS{Value: held.TriggerID},
		},
	})
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return ErrSuperseded
	}
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", held.Queue, err)
	}
	return nil
}

// Release lets a trigger's queue go and tells who waited for it. A queue that is
// not the trigger's is left alone.
func (c Claims) Release(ctx context.Context, queueARN, triggerID string) (waiting []string, err error) {
	held, err := c.Queue(ctx, queueARN)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil || held.TriggerID != triggerID {
		return nil, err
	}
	condition := "#trigger_id = :trigger"
	err = transact(ctx, c.Client, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Delete: &types.Delete{
			TableName: &c.Table, Key: claimKey(queueARN), ConditionExpression: &condition,
			ExpressionAttributeNames:  placeholders(condition),
			ExpressionAttributeValues: map[string]types.AttributeValue{":trigger": &types.AttributeValueMemberS{Value: triggerID}},
		}},
		c.changeHeld(triggerID, "DELETE", queueARN),
	}})
	if failed := failedConditions(err); len(failed) > 0 && failed[0] {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("letting %s go: %w", queueARN, err)
	}
	return held.Waiting, nil
}

// Held lists the queues that a trigger has claimed.
func (c Claims) Held(ctx context.Context, triggerID string) ([]string, error) {
	answer, err := c.Client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &c.Table, Key: claimKey(heldBy(triggerID)), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, fmt.Errorf("reading the claims of trigger %s: %w", triggerID, err)
	}
	var row struct {
		Queues []string `json:"queues"`
	}
	err = decode(answer.Item, &row)
	return row.Queues, err
}

// Forget removes the list of what a trigger holds. Let all of it go first.
func (c Claims) Forget(ctx context.Context, triggerID string) error {
	_, err := c.Client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &c.Table, Key: claimKey(heldBy(triggerID)), ConditionExpression: aws.String("attribute_not_exists(queues)"),
	})
	if err != nil {
		return fmt.Errorf("forgetting the claims of trigger %s: %w", triggerID, err)
	}
	return nil
}

// Holders reads which triggers hold something, up to that many rows of the table
// at a time: after "" the first, until next is "" again. A trigger may come more
// than once. It scans: for sweep alone.
func (c Claims) Holders(ctx context.Context, after string, most int32) (triggerIDs []string, next string, err error) {
	type row struct {
		Name      string `json:"name"`
		TriggerID string `json:"trigger_id"`
	}
	rows, next, err := scan[row](ctx, c.Client, c.Table, "name", "", nil, after, most)
	for _, r := range rows {
		if id, ok := strings.CutPrefix(r.Name, heldBy("")); ok {
			triggerIDs = append(triggerIDs, id)
		} else if r.TriggerID != "" {
			triggerIDs = append(triggerIDs, r.TriggerID)
		}
	}
	return triggerIDs, next, err
}

// Bookmark reads where a walk through a table is to go on; "" for its beginning.
func (c Claims) Bookmark(ctx context.Context, name string) (string, error) {
	answer, err := c.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &c.Table, Key: claimKey(name), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return "", fmt.Errorf("reading the bookmark %s: %w", name, err)
	}
	var row struct {
		After string `json:"after"`
	}
	err = decode(answer.Item, &row)
	return row.After, err
}

// SetBookmark notes where a walk is to go on; "" is at its beginning.
func (c Claims) SetBookmark(ctx context.Context, name, after string) error {
	item := claimKey(name)
	var err error
	if after == "" {
		_, err = c.Client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &c.Table, Key: item})
	} else {
		item["after"] = &types.AttributeValueMemberS{Value: after}
		_, err = c.Client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &c.Table, Item: item})
	}
	if err != nil {
		return fmt.Errorf("setting the bookmark %s: %w", name, err)
	}
	return nil
}

// changeHeld adds a queue to the list of what a trigger holds, or deletes it from
// there, in the transaction that changes the claim itself. The list is what lets
// a trigger's queues be found when its config no longer names them.
func (c Claims) changeHeld(triggerID, action, queueARN string) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: &c.Table, Key: claimKey(heldBy(triggerID)), UpdateExpression: aws.String(action + " queues :queue"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":queue": &types.AttributeValueMemberSS{Value: []string{queueARN}}},
	}}
}

func heldBy(triggerID string) string { return "held-by/" + triggerID }

func claimKey(name string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"name": &types.AttributeValueMemberS{Value: name}}
}
