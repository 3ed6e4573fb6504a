package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/platform/backoff"
)

// conflictTries is the number of attempts at a write. The pauses between the attempts add up
// to 4 seconds at most.
const conflictTries = 12

// write performs one call that writes, and retries it with pauses while a transaction holds
// one of its items. DynamoDB refuses such a write, and the SDK does not retry it (Developer
// Guide, "Amazon DynamoDB Transactions: How it works"). All writes of this package use write.
// A transaction may be repeated because DynamoDB cancels it as a whole.
func write[I, O any](ctx context.Context, call func(context.Context, I, ...func(*dynamodb.Options)) (O, error), input I) (O, error) {
	for tries := 0; ; tries++ {
		output, err := call(ctx, input)
		if err == nil || !isConflict(err) || tries+1 == conflictTries {
			return output, err
		}
		if waited := backoff.AfterConflict(ctx, tries); waited != nil {
			return output, fmt.Errorf("waiting for other transactions: %w", err)
		}
	}
}

// transact performs a transaction. It is idempotent by the SDK's client request token.
func transact(ctx context.Context, client *dynamodb.Client, input *dynamodb.TransactWriteItemsInput) error {
	_, err := write(ctx, client.TransactWriteItems, input)
	return err
}

// isConflict reports whether DynamoDB refused a write only because of another one at the same
// time. It did not if a condition failed as well, because the condition decides the outcome.
func isConflict(err error) bool {
	if _, conflict := errors.AsType[*types.TransactionConflictException](err); conflict {
		return true
	}
	if _, running := errors.AsType[*types.TransactionInProgressException](err); running {
		return true
	}
	canceled, ok := errors.AsType[*types.TransactionCanceledException](err)
	return ok && len(canceled.CancellationReasons) > 0 && !slices.ContainsFunc(canceled.CancellationReasons, func(reason types.CancellationReason) bool {
		return !slices.Contains(passing, aws.ToString(reason.Code))
	})
}

// passing are the codes of the cancellation reasons that pass. "None" is that of an item that
// the transaction could have written (API Reference, "TransactWriteItems").
var passing = []string{"None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}

// failedCondition is a condition of a transaction that failed.
type failedCondition struct {
	// Item is the row, if the condition's part asked for it and there is one.
	Item map[string]types.AttributeValue
}

// failedConditions returns, for each item of a canceled transaction, its condition if that
// failed, and nil otherwise. It returns nil for any other error.
func failedConditions(err error) []*failedCondition {
	canceled, ok := errors.AsType[*types.TransactionCanceledException](err)
	if !ok {
		return nil
	}
	failed := make([]*failedCondition, len(canceled.CancellationReasons))
	for i, reason := range canceled.CancellationReasons {
		if aws.ToString(reason.Code) == "ConditionalCheckFailed" {
			failed[i] = &failedCondition{reason.Item}
		}
	}
	return failed
}
