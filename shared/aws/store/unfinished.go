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
	"containertriggers/shared/domain/trigger"
)

// byUnfinished is the sparse index of the rows that reconcile has not finished. A row is in it
// as long as it has the attribute "unfinished", which each write sets or removes together with
// what it depends on. template.yaml creates the index for each table that reconcile reads.
//
// All rows of the index have the same key. DynamoDB divides it between partitions by the sort
// key, which is random (AWS Database Blog, "How partitions, hot keys, and split for heat
// impact performance").
const byUnfinished = "by-unfinished"

// isUnfinished is the value of the attribute "unfinished".
const isUnfinished = "yes"

// unfinishedIf returns the value of the attribute for a new row.
func unfinishedIf(unfinished bool) string {
	if unfinished {
		return isUnfinished
	}
	return ""
}

// queryUnfinished returns the rows of one page of the index, as it projects them, if they match
// the filter. The first page comes after "", and next is "" after the last one.
func queryUnfinished[R any](ctx context.Context, client *dynamodb.Client, table, filter string, values map[string]any, after string) (list []R, next string, err error) {
	condition := "#unfinished = :unfinished"
	encoded, err := encodeValues(values)
	if err != nil {
		return nil, "", err
	}
	if encoded == nil {
		encoded = map[string]types.AttributeValue{}
	}
	encoded[":unfinished"] = &types.AttributeValueMemberS{Value: isUnfinished}
	input := &dynamodb.QueryInput{
		TableName: &table, IndexName: aws.String(byUnfinished), KeyConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(condition + filter), ExpressionAttributeValues: encoded,
	}
	if filter != "" {
		input.FilterExpression = &filter
	}
	if after != "" {
		input.ExclusiveStartKey = key(after)
		input.ExclusiveStartKey["unfinished"] = encoded[":unfinished"]
	}
	page, err := client.Query(ctx, input)
	if err != nil {
		return nil, "", fmt.Errorf("listing the unfinished rows of %s: %w", table, err)
	}
	for _, item := range page.Items {
		row, err := decodeRow[R](item)
		if err != nil {
			return nil, "", err
		}
		list = append(list, row)
	}
	if last, ok := page.LastEvaluatedKey["id"].(*types.AttributeValueMemberS); ok {
		next = last.Value
	}
	return list, next, nil
}

// relist adds the unfinished rows of one page of the table to the index if an earlier release
// wrote them. unfinished is the condition of an unfinished row. The first page comes after "",
// and next is "" after the last one.
func (r rows[R]) relist(ctx context.Context, unfinished string, values map[string]any, after string, most int32) (next string, err error) {
	type row struct {
		ID string `json:"id"`
	}
	condition := "(" + unfinished + ") AND attribute_not_exists(#unfinished)"
	found, next, err := scan[row](ctx, r.client, r.table, "id", condition, values, after, most)
	if err != nil {
		return "", err
	}
	var failures []error
	for _, one := range found {
		failures = append(failures, r.setUnfinished(ctx, one.ID, condition, values))
	}
	return next, errors.Join(failures...)
}

func (r rows[R]) setUnfinished(ctx context.Context, id, condition string, values map[string]any) error {
	with := map[string]any{"unfinished": isUnfinished}
	for name, value := range values {
		with[name] = value
	}
	_, err := r.update(ctx, id, "SET #unfinished = :unfinished", condition, with)
	if errors.Is(err, ErrSuperseded) {
		return nil // it has been finished, or is in the index now
	}
	return err
}

// Unfinished is a trigger as the index of unfinished rows projects it.
type Unfinished struct {
	ID     string
	Status trigger.Status
	// Settled is as [trigger.Trigger.Settled] reports it.
	Settled   bool
	UpdatedAt time.Time
	// ReopenedAt is the time of the last Requeue. It is zero if there was none.
	ReopenedAt time.Time
}

// Finished reports whether nothing is left to do for the trigger.
func (u Unfinished) Finished() bool { return u.Status == trigger.Ready && u.Settled }

// Unfinished returns the triggers of one page of the index of unfinished rows. The first page
// comes after "", and next is "" after the last one. The index lags, and it may contain a
// finished trigger that an earlier release has finished.
func (t Triggers) Unfinished(ctx context.Context, after string) (list []Unfinished, next string, err error) {
	type row struct {
		ID                 string          `json:"id"`
		Status             trigger.Status  `json:"status"`
		UpdatedAt          timestamp.Time  `json:"updated_at"`
		Generation         int64           `json:"generation"`
		ObservedGeneration int64           `json:"observed_generation"`
		ReopenedAt         *timestamp.Time `json:"reopened_at"`
	}
	rows, next, err := queryUnfinished[row](ctx, t.Client, t.Table, "", nil, after)
	return convert(rows, func(r row) Unfinished {
		found := Unfinished{ID: r.ID, Status: r.Status, Settled: r.Generation == r.ObservedGeneration, UpdatedAt: time.Time(r.UpdatedAt)}
		if r.ReopenedAt != nil {
			found.ReopenedAt = time.Time(*r.ReopenedAt)
		}
		return found
	}), next, err
}

// Finish removes a finished trigger from the index of unfinished rows. It does nothing if the
// trigger is unfinished or does not exist.
func (t Triggers) Finish(ctx context.Context, id string) error {
	_, err := t.rows().update(ctx, id, "REMOVE #unfinished", "#status = :ready AND #observed_generation = #generation", map[string]any{"ready": trigger.Ready})
	if errors.Is(err, ErrSuperseded) {
		return nil
	}
	return err
}

// Relist adds the unfinished triggers of one page of the table to the index of unfinished rows
// if an earlier release wrote them. It reads at most that many rows. The first page comes after
// "", and next is "" after the last one.
func (t Triggers) Relist(ctx context.Context, after string, most int32) (next string, err error) {
	return t.rows().relist(ctx, "#status <> :ready OR #observed_generation <> #generation", map[string]any{"ready": trigger.Ready}, after, most)
}

// deleting returns the IDs of the rows that are marked for deletion and were marked or
// requeued before that time, from one page of the index of unfinished rows. The first page
// comes after "", and next is "" after the last one.
func (r rows[R]) deleting(ctx context.Context, after string, before time.Time) (ids []string, next string, err error) {
	type row struct {
		ID string `json:"id"`
	}
	found, next, err := queryUnfinished[row](ctx, r.client, r.table,
		"attribute_not_exists(#reopened_at) OR #reopened_at < :before", map[string]any{"before": timestamp.Time(before)}, after)
	return convert(found, func(r row) string { return r.ID }), next, err
}

// relistDeleting is relist for rows that are unfinished only while they are being deleted.
func (r rows[R]) relistDeleting(ctx context.Context, after string, most int32) (next string, err error) {
	return r.relist(ctx, "#status = :deleting", map[string]any{"deleting": "deleting"}, after, most)
}
