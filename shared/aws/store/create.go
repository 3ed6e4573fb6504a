package store

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/contract/apierr"
)

const isNew = "attribute_not_exists(id)"

// parent is a row without which another one cannot be created. The zero parent is none.
type parent struct {
	table, resource, id string
}

// creation is a new row and what belongs to it.
type creation[R any] struct {
	id  string
	row R
	// further has attributes beside the row's.
	further map[string]any
	under   parent
	in      []membership
	// begins are the scopes that begin with the row.
	begins []scope
}

// create adds a row and counts it, in one transaction. It returns ErrNotFound if the parent
// does not exist or is being deleted, and quotas_exceeded with each quota that is reached. It is
// idempotent.
func (r rows[R]) create(ctx context.Context, of creation[R]) error {
	items, err := r.creates(of)
	if err != nil {
		return err
	}
	for {
		err := transact(ctx, r.client, &dynamodb.TransactWriteItemsInput{ClientRequestToken: &of.id, TransactItems: items})
		if err == nil {
			return nil
		}
		failed := failedConditions(err)
		if failed == nil || failed[0] != nil {
			return r.created(ctx, of.id, err)
		}
		counts := failed[len(failed)-len(of.in):]
		if of.under != (parent{}) && failed[1] != nil {
			return notFound(of.under.resource, of.under.id)
		}
		begun, exceeded := false, []apierr.Quota{}
		for i, m := range of.in {
			switch {
			case counts[i] == nil:
			case counts[i].Item == nil:
				if err := r.begin(ctx, m.of); err != nil {
					return err
				}
				begun = true
			default:
				count, err := decodeRow[countRow](counts[i].Item)
				if err != nil {
					return err
				}
				m.quota.Current = count.Total
				exceeded = append(exceeded, m.quota)
			}
		}
		if len(exceeded) > 0 {
			return apierr.QuotasExceeded(exceeded...)
		}
		if !begun {
			return r.created(ctx, of.id, err)
		}
	}
}

// creates returns the parts of the transaction: the row, its parent if it has one, the counts
// that begin, and the counts that change.
func (r rows[R]) creates(of creation[R]) ([]types.TransactWriteItem, error) {
	item, err := encode(of.row)
	if err != nil {
		return nil, err
	}
	attributes, err := encode(of.further)
	if err != nil {
		return nil, err
	}
	maps.Copy(item, attributes)
	items := []types.TransactWriteItem{{Put: &types.Put{TableName: &r.table, Item: item, ConditionExpression: aws.String(isNew)}}}
	if of.under != (parent{}) {
		items = append(items, types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
			TableName: &of.under.table, Key: key(of.under.id),
			ConditionExpression:       aws.String("#status = :ready"),
			ExpressionAttributeNames:  placeholders("#status"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":ready": &types.AttributeValueMemberS{Value: "ready"}},
		}})
	}
	now := time.Now()
	for _, scope := range of.begins {
		none, err := encode(newCountRow(scope, nil, now))
		if err != nil {
			return nil, err
		}
		items = append(items, types.TransactWriteItem{Put: &types.Put{TableName: &r.counts.Table, Item: none}})
	}
	for _, m := range of.in {
		add, err := r.counts.add(m, 1, now)
		if err != nil {
			return nil, err
		}
		items = append(items, add)
	}
	return items, nil
}

// created returns nil if a create that ended with an error took effect all the same.
func (r rows[R]) created(ctx context.Context, id string, err error) error {
	if r.exists(ctx, id) {
		return nil
	}
	return fmt.Errorf("creating %s %s: %w", r.resource, id, err)
}
