package store

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const isNew = "attribute_not_exists(id)"

// create adds a row under its new ID. It is idempotent.
func (r rows[R]) create(ctx context.Context, id string, row R) error {
	item, err := encode(row)
	if err != nil {
		return err
	}
	_, err = write(ctx, r.client.PutItem, &dynamodb.PutItemInput{TableName: &r.table, Item: item, ConditionExpression: aws.String(isNew)})
	if _, exists := errors.AsType[*types.ConditionalCheckFailedException](err); exists || err == nil {
		return nil // the ID is random, so an earlier attempt took effect
	}
	return r.created(ctx, id, err)
}

// parent is a row without which another one cannot be created.
type parent struct {
	table, resource, id string
}

// createUnder adds a row, with further attributes if there are any. It returns ErrNotFound
// if the parent does not exist or is being deleted. It is idempotent.
func (r rows[R]) createUnder(ctx context.Context, of parent, id string, row R, further map[string]any) error {
	item, err := encode(row)
	if err != nil {
		return err
	}
	attributes, err := encode(further)
	if err != nil {
		return err
	}
	maps.Copy(item, attributes)
	err = transact(ctx, r.client, &dynamodb.TransactWriteItemsInput{
		ClientRequestToken: &id,
		TransactItems: []types.TransactWriteItem{
			{Put: &types.Put{TableName: &r.table, Item: item, ConditionExpression: aws.String(isNew)}},
			{ConditionCheck: &types.ConditionCheck{
				TableName: &of.table, Key: key(of.id),
				ConditionExpression:       aws.String("#status = :ready"),
				ExpressionAttributeNames:  placeholders("#status"),
				ExpressionAttributeValues: map[string]types.AttributeValue{":ready": &types.AttributeValueMemberS{Value: "ready"}},
			}},
		},
	})
	if err == nil {
		return nil
	}
	if failed := failedConditions(err); len(failed) > 1 && failed[1] && !failed[0] {
		return notFound(of.resource, of.id)
	}
	return r.created(ctx, id, err)
}

// created returns nil if a create that ended with an error took effect all the same.
func (r rows[R]) created(ctx context.Context, id string, err error) error {
	if r.exists(ctx, id) {
		return nil
	}
	return fmt.Errorf("creating %s %s: %w", r.resource, id, err)
}
