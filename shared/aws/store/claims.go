package store

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

// Claims records which trigger has a queue. A queue belongs to one trigger at a time.
// Claims, [Leases], [Bookmarks] and [Positions] share one table.
type Claims struct {
	Client *dynamodb.Client
	Table  string
}

// QueueClaim gives a queue to a trigger.
type QueueClaim struct {
	// Queue is the queue's ARN.
	Queue       string `json:"name"`
	TriggerID   string `json:"trigger_id"`
	ContainerID string `json:"container_id"`
	// QueueURL is the URL in the trigger's config when it claimed the queue. If the
	// config has changed since, the trigger no longer gets the queue's messages.
	QueueURL string `json:"queue_url"`
	// MaxReceives is maxReceiveCount of the queue's redrive policy, 0 without a policy.
	MaxReceives int `json:"max_receives"`
	// MappingID is the ID of the queue's event source mapping as far as it is known, or "".
	MappingID string `json:"mapping_id,omitempty"`
	// Waiting are the triggers that also want the queue.
	Waiting []string `json:"waiting,omitempty"`
}

// ClaimedError is the error of a claim on a queue that another trigger has.
type ClaimedError struct{ TriggerID string }

func (e *ClaimedError) Error() string { return "the queue is claimed by trigger " + e.TriggerID }

// Queue returns the claim on a queue, or ErrNotFound if no trigger has the queue.
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

// Claim gives a queue to a trigger, and updates the claim if the trigger has the
// queue already. If another trigger has it, Claim records the trigger as waiting and
// returns a *[ClaimedError].
func (c Claims) Claim(ctx context.Context, claim QueueClaim) error {
	for range conflictTries {
		err := c.claim(ctx, claim)
		if failed := failedConditions(err); len(failed) == 0 || failed[0] == nil {
			return err
		}
		holder, err := c.Queue(ctx, claim.Queue)
		if errors.Is(err, ErrNotFound) {
			continue // the other trigger has just released it
		}
		if err != nil {
			return err
		}
		if err := c.wait(ctx, holder, claim.TriggerID); !errors.Is(err, ErrSuperseded) {
			return errors.Join(err, &ClaimedError{holder.TriggerID})
		}
	}
	return fmt.Errorf("claiming %s: other triggers claim and release it too often", claim.Queue)
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

// SetMapping records the ID of the mapping of a queue that a trigger has. It does nothing if
// the trigger does not have the queue.
func (c Claims) SetMapping(ctx context.Context, queueARN, triggerID, mappingID string) error {
	set, condition := "SET #mapping_id = :mapping", "#trigger_id = :trigger"
	_, err := c.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &c.Table, Key: claimKey(queueARN), UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(set + " " + condition),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":mapping": &types.AttributeValueMemberS{Value: mappingID},
			":trigger": &types.AttributeValueMemberS{Value: triggerID},
		},
	})
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recording the mapping of %s: %w", queueARN, err)
	}
	return nil
}

// wait records a trigger as waiting for a queue. It returns ErrSuperseded if the holder
// has released the queue.
func (c Claims) wait(ctx context.Context, held QueueClaim, triggerID string) error {
	if slices.Contains(held.Waiting, triggerID) {
		return nil
	}
	add, condition := "ADD #waiting :waiting", "#trigger_id = :holder"
	_, err := write(ctx, c.Client.UpdateItem, &dynamodb.UpdateItemInput{
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

// Release deletes a trigger's claim on a queue and returns the triggers that wait for
// the queue. It does nothing if the trigger does not have the queue.
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
	if failed := failedConditions(err); len(failed) > 0 && failed[0] != nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("releasing %s: %w", queueARN, err)
	}
	return held.Waiting, nil
}

// Held returns the ARNs of the queues that a trigger has.
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

// Forget deletes the list of a trigger's queues. It fails unless all of them are
// released.
func (c Claims) Forget(ctx context.Context, triggerID string) error {
	_, err := write(ctx, c.Client.DeleteItem, &dynamodb.DeleteItemInput{
		TableName: &c.Table, Key: claimKey(heldBy(triggerID)), ConditionExpression: aws.String("attribute_not_exists(queues)"),
	})
	if err != nil {
		return fmt.Errorf("forgetting the claims of trigger %s: %w", triggerID, err)
	}
	return nil
}

// Holders returns the triggers that have a queue, from one page of at most that many
// rows. The first page comes after "", and next is "" after the last one. A trigger may
// occur more than once. Holders scans the table, so only sweep uses it.
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

// changeHeld adds a queue to the list of a trigger's queues or deletes it from there,
// in the transaction that changes the claim. The list contains a trigger's queues even if
// its config no longer names them.
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
