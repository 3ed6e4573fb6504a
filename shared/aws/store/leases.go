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
)

// Leases records which run of the relay has a shard.
type Leases struct {
	Client *dynamodb.Client
	Table  string
}

// Lease gives a shard to one run of the relay. The zero value belongs to no run.
type Lease struct {
	Holder string
	// Until is when the holder counts as dead, unless it renews the lease.
	Until time.Time
	// Ending is true once the holder's time is nearly over and it wants a successor.
	Ending bool
}

// Wanted reports whether another run should take the shard now.
func (l Lease) Wanted(now time.Time) bool { return l.Holder == "" || l.Ending || l.Until.Before(now) }

// Get returns a shard's lease, or a zero one if no run has the shard.
func (l Leases) Get(ctx context.Context, shard string) (Lease, error) {
	answer, err := l.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &l.Table, Key: leaseKey(shard), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return Lease{}, fmt.Errorf("reading the lease of relay %s: %w", shard, err)
	}
	if answer.Item == nil {
		return Lease{}, nil
	}
	var row struct {
		Holder string         `json:"holder"`
		Until  timestamp.Time `json:"until"`
		Ending bool           `json:"ending"`
	}
	err = decode(answer.Item, &row)
	return Lease{row.Holder, time.Time(row.Until), row.Ending}, err
}

// Take gives a shard to the holder. It is idempotent for the same holder, and returns
// ErrSuperseded if another run has the shard and does not want a successor.
func (l Leases) Take(ctx context.Context, shard, holder string, now, until time.Time) error {
	return l.change(ctx, shard, "SET #holder = :holder, #until = :until, #ending = :ending",
		"attribute_not_exists(#holder) OR #holder = :holder OR #ending = :wanted OR #until < :now",
		map[string]any{"holder": holder, "until": timestamp.Time(until), "ending": false, "wanted": true, "now": timestamp.Time(now)})
}

// Renew extends the holder's lease and records whether the holder is about to end. It
// returns ErrSuperseded if another run has taken the shard.
func (l Leases) Renew(ctx context.Context, shard, holder string, until time.Time, ending bool) error {
	return l.change(ctx, shard, "SET #until = :until, #ending = :ending", "#holder = :holder",
		map[string]any{"holder": holder, "until": timestamp.Time(until), "ending": ending})
}

func (l Leases) change(ctx context.Context, shard, set, condition string, values map[string]any) error {
	encoded, err := encodeValues(values)
	if err != nil {
		return err
	}
	_, err = write(ctx, l.Client.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &l.Table, Key: leaseKey(shard), UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(set + " " + condition), ExpressionAttributeValues: encoded,
	})
	return leaseError("changing", shard, err)
}

// Drop deletes the holder's lease. It does nothing if another run has the shard.
func (l Leases) Drop(ctx context.Context, shard, holder string) error {
	_, err := write(ctx, l.Client.DeleteItem, &dynamodb.DeleteItemInput{
		TableName: &l.Table, Key: leaseKey(shard), ConditionExpression: aws.String("holder = :holder"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":holder": &types.AttributeValueMemberS{Value: holder}},
	})
	if err = leaseError("dropping", shard, err); errors.Is(err, ErrSuperseded) {
		return nil
	}
	return err
}

func leaseError(doing, shard string, err error) error {
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return ErrSuperseded
	}
	if err != nil {
		return fmt.Errorf("%s the lease of relay %s: %w", doing, shard, err)
	}
	return nil
}

func leaseKey(shard string) map[string]types.AttributeValue { return claimKey("relay/" + shard) }
