package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/auth"
)

// rows are the rows of a table with the key "id". Each has the form R.
type rows[R any] struct {
	client *dynamodb.Client
	table  string
	// resource is the contract's name for a row.
	resource string
	// counts is the zero value if rows are neither created nor removed nor listed.
	counts Counts
}

// get returns a row, or ErrNotFound if there is none. The read is strongly consistent.
func (r rows[R]) get(ctx context.Context, id string) (R, error) {
	answer, err := r.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &r.table, Key: key(id), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return *new(R), fmt.Errorf("reading %s of %s: %w", id, r.table, err)
	}
	if answer.Item == nil {
		return *new(R), notFound(r.resource, id)
	}
	return decodeRow[R](answer.Item)
}

// existsTimeout limits the read after a create of unknown outcome.
const existsTimeout = 3 * time.Second

// exists reports whether a create of unknown outcome took effect. It has a deadline of its
// own, because that of ctx may have passed.
func (r rows[R]) exists(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), existsTimeout)
	defer cancel()
	_, err := r.get(ctx, id)
	return err == nil
}

// update applies the update expression to a row if the condition holds. "#name" stands
// for the attribute of that name, ":name" for the value of that name. If the condition
// fails, update returns ErrSuperseded and the current row; the error wraps ErrNotFound
// if there is no row.
func (r rows[R]) update(ctx context.Context, id, set, condition string, values map[string]any) (current R, err error) {
	encoded, err := encodeValues(values)
	if err != nil {
		return current, err
	}
	_, err = write(ctx, r.client.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &r.table, Key: key(id),
		UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(set + " " + condition), ExpressionAttributeValues: encoded,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		if failed.Item == nil {
			return current, errors.Join(ErrSuperseded, notFound(r.resource, id))
		}
		current, err = decodeRow[R](failed.Item)
		return current, errors.Join(ErrSuperseded, err)
	}
	if err != nil {
		return current, fmt.Errorf("updating %s of %s: %w", id, r.table, err)
	}
	return current, nil
}

// markDeleting sets a row's status to deleting, which makes a new generation of the
// row, and returns the row. It is idempotent. It keeps updated_at, as the contract
// requires. It sets reopened_at, so that sweep gives reconcile time before it requeues the
// row. It records the change through the API, if there is one.
func (r rows[R]) markDeleting(ctx context.Context, id string, by auth.Change) (R, error) {
	set := "SET #status = :deleting, #reopened_at = :now, #unfinished = :unfinished"
	values := map[string]any{"deleting": "deleting", "unfinished": isUnfinished, "one": 1, "now": timestamp.Time(time.Now())}
	if by != (auth.Change{}) {
		set += ", #last_change = :change"
		values["change"] = newChangeRow(by)
	}
	set += " ADD #generation :one"
	condition := "attribute_exists(#id) AND #status <> :deleting"
	encoded, err := encodeValues(values)
	if err != nil {
		return *new(R), err
	}
	answer, err := write(ctx, r.client.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &r.table, Key: key(id), UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(set + " " + condition), ExpressionAttributeValues: encoded,
		ReturnValues:                        types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		if failed.Item == nil {
			return *new(R), notFound(r.resource, id)
		}
		return decodeRow[R](failed.Item)
	}
	if err != nil {
		return *new(R), fmt.Errorf("marking %s of %s for deletion: %w", id, r.table, err)
	}
	return decodeRow[R](answer.Attributes)
}

// remove deletes a row that is marked for deletion and takes it out of its counts, in one
// transaction. With it goes the count of a scope that ends with the row, if one is given. It
// returns ErrSuperseded if the row is not marked, and does nothing if there is no row.
func (r rows[R]) remove(ctx context.Context, id string, in []membership, ends ...scope) error {
	now := time.Now()
	for {
		items, err := r.removes(id, in, ends, now)
		if err != nil {
			return err
		}
		err = transact(ctx, r.client, &dynamodb.TransactWriteItemsInput{TransactItems: items})
		failed := failedConditions(err)
		switch {
		case failed == nil:
			return wrap(err, "removing %s of %s", id, r.table)
		case failed[0] != nil && failed[0].Item == nil:
			return nil
		case failed[0] != nil:
			return ErrSuperseded
		}
		var counted []membership
		for i, m := range in {
			if failed[1+i] == nil {
				counted = append(counted, m)
			}
		}
		if len(counted) == len(in) {
			return wrap(err, "removing %s of %s", id, r.table)
		}
		in = counted // the others are of scopes without a count
	}
}

// removes returns the parts of the transaction: the row, its counts, and the counts that end.
func (r rows[R]) removes(id string, in []membership, ends []scope, now time.Time) ([]types.TransactWriteItem, error) {
	items := []types.TransactWriteItem{{Delete: &types.Delete{
		TableName: &r.table, Key: key(id),
		ConditionExpression:      aws.String("#status = :deleting"),
		ExpressionAttributeNames: placeholders("#status"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":deleting": &types.AttributeValueMemberS{Value: "deleting"},
		},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}}
	for _, m := range in {
		m.quota.Quota = 0
		add, err := r.counts.add(m, -1, now)
		if err != nil {
			return nil, err
		}
		items = append(items, add)
	}
	for _, each := range ends {
		items = append(items, types.TransactWriteItem{Delete: &types.Delete{TableName: &r.counts.Table, Key: countKey(each.name)}})
	}
	return items, nil
}

// requeue writes a row that is marked for deletion, so that the table's stream invokes
// reconcile for it again. It does nothing if there is no such row.
func (r rows[R]) requeue(ctx context.Context, id string, now time.Time) error {
	_, err := r.update(ctx, id, "SET #reopened_at = :now", "#status = :deleting",
		map[string]any{"now": timestamp.Time(now), "deleting": "deleting"})
	if errors.Is(err, ErrSuperseded) {
		return nil
	}
	return err
}

// getAll returns the rows of up to 100 keys, in the keys' order. It omits keys
// without a row.
func (r rows[R]) getAll(ctx context.Context, ids []string) ([]R, error) {
	found := map[string]map[string]types.AttributeValue{}
	err := batchGet(ctx, r.client, r.request(ids, nil, true), func(_ string, item map[string]types.AttributeValue) {
		if id, ok := item["id"].(*types.AttributeValueMemberS); ok {
			found[id.Value] = item
		}
	})
	if err != nil {
		return nil, err
	}
	list := make([]R, 0, len(ids))
	for _, id := range ids {
		if item, ok := found[id]; ok {
			row, err := decodeRow[R](item)
			if err != nil {
				return nil, err
			}
			list = append(list, row)
		}
	}
	return list, nil
}

// request returns a request for the rows of these IDs. With a nil projection, it requests all
// attributes.
func (r rows[R]) request(ids []string, projection *string, consistent bool) map[string]types.KeysAndAttributes {
	if len(ids) == 0 {
		return nil
	}
	keys := make([]map[string]types.AttributeValue, len(ids))
	for i, id := range ids {
		keys[i] = key(id)
	}
	return map[string]types.KeysAndAttributes{r.table: {Keys: keys, ConsistentRead: &consistent, ProjectionExpression: projection}}
}

// present returns the IDs that have a row. A read of these rows is eventually consistent, which
// costs half as much. Only the IDs without a row are confirmed by a consistent read.
func (r rows[R]) present(ctx context.Context, ids []string) (map[string]bool, error) {
	present := map[string]bool{}
	for _, consistent := range []bool{false, true} {
		missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return present[id] })
		for some := range slices.Chunk(missing, maxBatch) {
			err := batchGet(ctx, r.client, r.request(some, aws.String("id"), consistent), func(_ string, item map[string]types.AttributeValue) {
				if id, ok := item["id"].(*types.AttributeValueMemberS); ok {
					present[id.Value] = true
				}
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return present, nil
}

// maxBatch is the largest number of keys of a BatchGetItem (API Reference, "BatchGetItem").
const maxBatch = 100
