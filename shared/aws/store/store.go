// Package store stores the service's state in DynamoDB. It has one type for each kind of
// row, which consists of a client and the table's name.
//
// Reads of a row are strongly consistent. Lists come from indexes, which lag by some
// milliseconds. If a row has several writers, each write carries a condition on the state
// that it builds on, so that no write overwrites another one unnoticed.
package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/platform/backoff"
)

var (
	// ErrNotFound is the error for a row that does not exist. It is usually joined with the
	// contract's error for the client, an *apierr.Error.
	ErrNotFound = errors.New("no such row")
	// ErrSuperseded is the error of a write if the row has changed since it was read.
	ErrSuperseded = errors.New("the row has changed meanwhile")
)

func notFound(resource, id string) error {
	return errors.Join(ErrNotFound, apierr.NotFound(resource, id))
}

func key(id string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}}
}

// scan returns one page of a table, and the key after which the next page begins. The
// first page comes after "", and next is "" after the last one. keyName is the name of the
// table's key. most is the largest number of rows that DynamoDB reads before it applies the
// filter. If most is 0, only DynamoDB's own limit of 1 MB applies.
func scan[R any](ctx context.Context, client *dynamodb.Client, table, keyName, filter string, values map[string]any, after string, most int32) (list []R, next string, err error) {
	input := &dynamodb.ScanInput{TableName: &table}
	if filter != "" {
		input.FilterExpression, input.ExpressionAttributeNames = &filter, placeholders(filter)
		if input.ExpressionAttributeValues, err = encodeValues(values); err != nil {
			return nil, "", err
		}
	}
	if most > 0 {
		input.Limit = &most
	}
	if after != "" {
		input.ExclusiveStartKey = map[string]types.AttributeValue{keyName: &types.AttributeValueMemberS{Value: after}}
	}
	page, err := client.Scan(ctx, input)
	if err != nil {
		return nil, "", fmt.Errorf("scanning %s: %w", table, err)
	}
	for _, item := range page.Items {
		row, err := decodeRow[R](item)
		if err != nil {
			return nil, "", err
		}
		list = append(list, row)
	}
	if last, ok := page.LastEvaluatedKey[keyName].(*types.AttributeValueMemberS); ok {
		next = last.Value
	}
	return list, next, nil
}

// batchGet reads rows of one or more tables and passes each to the function. DynamoDB omits
// rows if the answer would exceed 16 MB, and if a table is throttled. batchGet requests these
// after a pause that grows, as the API Reference recommends under "BatchGetItem".
func batchGet(ctx context.Context, client *dynamodb.Client, wanted map[string]types.KeysAndAttributes, each func(table string, item map[string]types.AttributeValue)) error {
	for tries := 0; len(wanted) > 0; tries++ {
		if tries > 0 {
			if err := backoff.AfterConflict(ctx, tries); err != nil {
				return fmt.Errorf("reading rows that DynamoDB omitted: %w", err)
			}
		}
		answer, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: wanted})
		if err != nil {
			return fmt.Errorf("reading rows: %w", err)
		}
		for table, items := range answer.Responses {
			for _, item := range items {
				each(table, item)
			}
		}
		wanted = answer.UnprocessedKeys
	}
	return nil
}
