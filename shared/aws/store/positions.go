package store

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// Position is a trigger's progress through a JetStream stream. It outlives the run of the
// relay, and the consumer, which the owner of the NATS server can delete at any time. It is
// stored in the table of claims, because a write to the table of triggers would invoke
// reconcile.
type Position struct {
	Stream string `json:"stream"`
	// Created is when the stream was created. A stream that is deleted and created again
	// has another time, and numbers its messages from 1 again.
	Created time.Time `json:"created"`
	// Consumer is the time at which the trigger's consumer was created.
	Consumer time.Time `json:"consumer"`
	// Floor is the sequence number up to which all messages of the trigger's subject are
	// acknowledged.
	Floor uint64 `json:"floor"`
	// Source identifies the servers and the subject that the position belongs to.
	Source string `json:"source"`
}

// Positions stores the positions of triggers, in the same table as [Claims].
type Positions struct {
	Client *dynamodb.Client
	Table  string
}

// Get returns a trigger's position, or a zero one if none is stored.
func (p Positions) Get(ctx context.Context, triggerID string) (Position, error) {
	answer, err := p.Client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &p.Table, Key: claimKey(positionOf(triggerID)), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return Position{}, fmt.Errorf("reading the position of trigger %s: %w", triggerID, err)
	}
	return decodeRow[Position](answer.Item)
}

// Set stores a trigger's position.
func (p Positions) Set(ctx context.Context, triggerID string, position Position) error {
	set := "SET #stream = :stream, #created = :created, #consumer = :consumer, #floor = :floor, #source = :source"
	values, err := encodeValues(map[string]any{
		"stream": position.Stream, "created": position.Created, "consumer": position.Consumer, "floor": position.Floor, "source": position.Source,
	})
	if err != nil {
		return err
	}
	_, err = write(ctx, p.Client.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &p.Table, Key: claimKey(positionOf(triggerID)), UpdateExpression: &set,
		ExpressionAttributeNames: placeholders(set), ExpressionAttributeValues: values,
	})
	if err != nil {
		return fmt.Errorf("storing the position of trigger %s: %w", triggerID, err)
	}
	return nil
}

// Delete deletes the position of a trigger that is being deleted.
func (p Positions) Delete(ctx context.Context, triggerID string) error {
	_, err := write(ctx, p.Client.DeleteItem, &dynamodb.DeleteItemInput{TableName: &p.Table, Key: claimKey(positionOf(triggerID))})
	if err != nil {
		return fmt.Errorf("deleting the position of trigger %s: %w", triggerID, err)
	}
	return nil
}

// positionOf returns the key of a trigger's position in the table.
func positionOf(triggerID string) string { return "position/" + triggerID }
