// Package table keeps the service's state in DynamoDB: one type per table, made
// of a client and the table's name.
//
// A row is read strongly consistent; the lists come from indexes, which lag by
// some milliseconds. Each write states in a condition what it builds on, so
// that two of them never undo each other unseen.
package table

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/fault"
)

var (
	// ErrNotFound says that there is no such row. With it comes the contract's
	// error for the client, a *fault.Error.
	ErrNotFound = errors.New("no such row")
	// ErrSuperseded says that the row has moved on from what the write built on.
	ErrSuperseded = errors.New("the row has changed meanwhile")
)

// rows are a table's rows of the form R, keyed by "id".
type rows[R any] struct {
	client *dynamodb.Client
	table  string
	// resource is what a row is to the client.
	resource string
}

func notFound(resource, id string) error {
	return errors.Join(ErrNotFound, fault.NotFound(resource, id))
}

func key(id string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}}
}

// get reads a row, strongly consistent. [ErrNotFound] where there is none.
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

// lastLook bounds the read after a create of unknown outcome.
const lastLook = 3 * time.Second

// exists tells whether a create of unknown outcome took effect, even though the
// time for it is over.
func (r rows[R]) exists(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	_, err := r.get(ctx, id)
	return err == nil
}

// update changes a row as the expressions say. Names stand for themselves with
// a "#" before them, values are those given with a ":" before their names.
// [ErrSuperseded] where the condition does not hold: with it comes the row as it
// is instead, or [ErrNotFound] where there is none.
func (r rows[R]) update(ctx context.Context, id, set, condition string, values map[string]any) (instead R, err error) {
	encoded, err := encodeValues(values)
	if err != nil {
		return instead, err
	}
	_, err = r.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &r.table, Key: key(id),
		UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(set + " " + condition), ExpressionAttributeValues: encoded,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		if failed.Item == nil {
			return instead, errors.Join(ErrSuperseded, notFound(r.resource, id))
		}
		instead, err = decodeRow[R](failed.Item)
		return instead, errors.Join(ErrSuperseded, err)
	}
	if err != nil {
		return instead, fmt.Errorf("updating %s of %s: %w", id, r.table, err)
	}
	return instead, nil
}

// markDeleting turns a row's status to deleting, which is a new generation of
// it, and gives the row back. Doing it again changes nothing.
func (r rows[R]) markDeleting(ctx context.Context, id string) (R, error) {
	answer, err := r.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &r.table, Key: key(id),
		UpdateExpression:         aws.String("SET #status = :deleting ADD #generation :one"),
		ConditionExpression:      aws.String("attribute_exists(#id) AND #status <> :deleting"),
		ExpressionAttributeNames: placeholders("#status #generation #id"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":deleting": &types.AttributeValueMemberS{Value: "deleting"},
			":one":      &types.AttributeValueMemberN{Value: "1"},
		},
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

// remove deletes a row that is marked for deletion. One that is gone is fine;
// [ErrSuperseded] where it is not marked.
func (r rows[R]) remove(ctx context.Context, id string) error {
	_, err := r.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &r.table, Key: key(id),
		ConditionExpression:      aws.String("attribute_not_exists(#id) OR #status = :deleting"),
		ExpressionAttributeNames: placeholders("#id #status"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":deleting": &types.AttributeValueMemberS{Value: "deleting"},
		},
	})
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return ErrSuperseded
	}
	if err != nil {
		return fmt.Errorf("removing %s of %s: %w", id, r.table, err)
	}
	return nil
}

// getAll reads the rows of up to 100 keys, in their order; rows that are gone
// are left out.
func (r rows[R]) getAll(ctx context.Context, ids []string) ([]R, error) {
	found := map[string]map[string]types.AttributeValue{}
	err := batchGet(ctx, r.client, r.wanted(ids, nil), func(_ string, item map[string]types.AttributeValue) {
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

// wanted asks for the rows of these IDs, strongly consistent; all of them where
// there is no projection.
func (r rows[R]) wanted(ids []string, projection *string) map[string]types.KeysAndAttributes {
	if len(ids) == 0 {
		return nil
	}
	keys := make([]map[string]types.AttributeValue, len(ids))
	for i, id := range ids {
		keys[i] = key(id)
	}
	return map[string]types.KeysAndAttributes{r.table: {Keys: keys, ConsistentRead: aws.Bool(true), ProjectionExpression: projection}}
}

// present tells which of the rows of up to 100 IDs are there.
func (r rows[R]) present(ctx context.Context, ids []string) (map[string]bool, error) {
	present := map[string]bool{}
	err := batchGet(ctx, r.client, r.wanted(ids, aws.String("id")), func(_ string, item map[string]types.AttributeValue) {
		if id, ok := item["id"].(*types.AttributeValueMemberS); ok {
			present[id.Value] = true
		}
	})
	return present, err
}

// scan reads a table that is keyed by an attribute, a page at a time: after "" the
// first, until next is "" again. The filter may be empty. Each page is of at most
// that many rows before the filter; 0 is as many as DynamoDB reads at once (1 MB).
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

// batchGet reads what is wanted, asking again for what DynamoDB left out of an
// answer (it stops at 16 MB).
func batchGet(ctx context.Context, client *dynamodb.Client, wanted map[string]types.KeysAndAttributes, each func(table string, item map[string]types.AttributeValue)) error {
	for len(wanted) > 0 {
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

// The rows carry json tags, as their nested configs do for the API: one name
// for each field, on the wire and in the table.
func encode(row any) (map[string]types.AttributeValue, error) {
	item, err := attributevalue.MarshalMapWithOptions(row, func(o *attributevalue.EncoderOptions) {
		o.TagKey, o.UseEncodingMarshalers = "json", true
	})
	if err != nil {
		return nil, fmt.Errorf("encoding a row: %w", err)
	}
	return item, nil
}

// encodeValues gives nil for no values, as DynamoDB wants it.
func encodeValues(values map[string]any) (map[string]types.AttributeValue, error) {
	if len(values) == 0 {
		return nil, nil
	}
	encoded := make(map[string]types.AttributeValue, len(values))
	for name, value := range values {
		attribute, err := attributevalue.MarshalWithOptions(value, func(o *attributevalue.EncoderOptions) {
			o.TagKey, o.UseEncodingMarshalers = "json", true
		})
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", name, err)
		}
		encoded[":"+name] = attribute
	}
	return encoded, nil
}

func decode(item map[string]types.AttributeValue, row any) error {
	err := attributevalue.UnmarshalMapWithOptions(item, row, func(o *attributevalue.DecoderOptions) {
		o.TagKey, o.UseEncodingUnmarshalers = "json", true
	})
	if err != nil {
		return fmt.Errorf("decoding a row: %w", err)
	}
	return nil
}

func decodeRow[R any](item map[string]types.AttributeValue) (R, error) {
	var row R
	err := decode(item, &row)
	return row, err
}

// placeholders maps each #name of the expressions to the attribute of that
// name: many names are reserved words in DynamoDB, and none is one with a "#".
func placeholders(expressions string) map[string]string {
	names := map[string]string{}
	for i := 0; i < len(expressions); i++ {
		if expressions[i] != '#' {
			continue
		}
		end := i + 1
		for end < len(expressions) && (expressions[end] == '_' || 'a' <= expressions[end] && expressions[end] <= 'z') {
			end++
		}
		names[expressions[i:end]] = expressions[i+1 : end]
		i = end - 1
	}
	return names
}
