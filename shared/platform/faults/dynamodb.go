package faults

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

const transaction = "DynamoDB.TransactWriteItems"

// throttled returns the error of a call that is one of too many. DynamoDB has an error of its
// own for a partition that gets too many (Developer Guide, "Error handling with DynamoDB").
func throttled(call string) error {
	if strings.HasPrefix(call, "DynamoDB.") {
		return &types.ProvisionedThroughputExceededException{Message: aws.String("The level of configured provisioned throughput for the table was exceeded")}
	}
	return &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate exceeded"}
}

// passing are the reasons for which DynamoDB cancels a transaction that may succeed later
// (API Reference, "TransactWriteItems").
var passing = []string{"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}

// items is the key of the number of a transaction's items in a call's context.
type items struct{}

// conflict returns the error of a write that meets another one. A transaction gets a reason
// for each of its items.
func (i *Injector) conflict(ctx context.Context, call string) error {
	if call != transaction {
		return &types.TransactionConflictException{Message: aws.String("Transaction is ongoing for the item")}
	}
	count, _ := middleware.GetStackValue(ctx, items{}).(int)
	reasons := slices.Repeat([]types.CancellationReason{{Code: aws.String("None")}}, count)
	i.mu.Lock()
	defer i.mu.Unlock()
	if count > 0 {
		reasons[i.random.IntN(count)].Code = aws.String(passing[i.random.IntN(len(passing))])
	}
	return &types.TransactionCanceledException{
		Message: aws.String("Transaction cancelled, please refer cancellation reasons for specific reasons"), CancellationReasons: reasons,
	}
}

// handleInput injects the faults that depend on a call's input.
func (i *Injector) handleInput(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	switch input := in.Parameters.(type) {
	case *dynamodb.TransactWriteItemsInput:
		ctx = middleware.WithStackValue(ctx, items{}, len(input.TransactItems))
	case *dynamodb.BatchGetItemInput:
		return i.handleBatch(ctx, input, in, next)
	}
	return next.HandleInitialize(ctx, in)
}

// handleBatch may take keys out of a BatchGetItem and return them as unprocessed. One key at
// least is processed, as the API Reference promises under "BatchGetItem".
func (i *Injector) handleBatch(ctx context.Context, input *dynamodb.BatchGetItemInput, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	kept, omitted := i.omit(input.RequestItems)
	if len(omitted) == 0 {
		return next.HandleInitialize(ctx, in)
	}
	report(ctx, Omit, callOf(ctx))
	changed := *input
	changed.RequestItems = kept
	in.Parameters = &changed
	out, metadata, err := next.HandleInitialize(ctx, in)
	if answer, ok := out.Result.(*dynamodb.BatchGetItemOutput); ok && err == nil {
		for table, keys := range answer.UnprocessedKeys {
			keys.Keys = append(keys.Keys, omitted[table].Keys...)
			omitted[table] = keys
		}
		answer.UnprocessedKeys = omitted
	}
	return out, metadata, err
}

// omit divides the keys of a BatchGetItem into those that are processed and the others.
func (i *Injector) omit(wanted map[string]types.KeysAndAttributes) (kept, omitted map[string]types.KeysAndAttributes) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.random.Float64() >= i.plan.Rate {
		return wanted, nil
	}
	kept, omitted = map[string]types.KeysAndAttributes{}, map[string]types.KeysAndAttributes{}
	for _, table := range slices.Sorted(maps.Keys(wanted)) { // in the seed's order
		of := wanted[table]
		all := of.Keys
		add := func(to map[string]types.KeysAndAttributes, keys []map[string]types.AttributeValue) {
			if len(keys) > 0 {
				of.Keys = keys
				to[table] = of
			}
		}
		from := i.random.IntN(len(all) + 1)
		if len(kept) == 0 {
			from = max(from, 1)
		}
		add(kept, all[:from])
		add(omitted, slices.Clone(all[from:]))
	}
	return kept, omitted
}
