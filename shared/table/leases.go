package table

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/wiretime"
)

// Lease says who runs a shard of the relay.
type Lease struct {
	Holder string
	// Until is when the holder counts as dead, unless it renews the lease.
	Until time.Time
	// Ending says that the holder's time is nearly over and a successor is wanted.
	Ending bool
}

// Wanted says whether somebody else should run the shard now.
func (l Lease) Wanted(now time.Time) bool { return l.Holder == "" || l.Ending || l.Until.Before(now) }

// Lease reads a shard's lease; a zero one where nobody has it.
func (c Claims) Lease(ctx context.Context, shard string) (Lease, error) {
	answer, err := c.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &c.Table, Key: leaseKey(shard), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return Lease{}, fmt.Errorf("reading the lease of relay %s: %w", shard, err)
	}
	if answer.Item == nil {
		return Lease{}, nil
	}
	var row struct {
		Holder string        `json:"holder"`
		Until  wiretime.Time `json:"until"`
		Ending bool          `json:"ending"`
	}
	err = decode(answer.Item, &row)
	return Lease{row.Holder, time.Time(row.Until), row.Ending}, err
}

// TakeLease makes a shard the holder's, who may already have it: by a try whose
// answer was lost. [ErrSuperseded] where it is not wanted.
func (c Claims) TakeLease(ctx context.Context, shard, holder string, now, until time.Time) error {
	return c.changeLease(ctx, shard, "SET #holder = :holder, #until = :until, #ending = :ending",
		"attribute_not_exists(#holder) OR #holder = :holder OR #ending = :wanted OR #until < :now",
		map[string]any{"holder": holder, "until": wiretime.Time(until), "ending": false, "wanted": true, "now": wiretime.Time(now)})
}

// RenewLease keeps a shard the holder's, who says whether it is about to end.
// [ErrSuperseded] where the shard is another's by now.
func (c Claims) RenewLease(ctx context.Context, shard, holder string, until time.Time, ending bool) error {
	return c.changeLease(ctx, shard, "SET #until = :until, #ending = :ending", "#holder = :holder",
		map[string]any{"holder": holder, "until": wiretime.Time(until), "ending": ending})
}

func (c Claims) changeLease(ctx context.Context, shard, set, condition string, values map[string]any) error {
	encoded, err := encodeValues(values)
	if err != nil {
		return err
	}
	_, err = c.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &c.Table, Key: leaseKey(shard), UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(set + " " + condition), ExpressionAttributeValues: encoded,
	})
	return leaseError("changing", shard, err)
}

// DropLease lets a shard go that is still the holder's.
func (c Claims) DropLease(ctx context.Context, shard, holder string) error {
	_, err := c.Client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &c.Table, Key: leaseKey(shard), ConditionExpression: aws.String("holder = :holder"),
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
