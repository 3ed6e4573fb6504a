package table

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// conflictTries is how often a transaction is tried. The SDK does not retry one that
// DynamoDB cancelled because another one held an item, though trying again is all
// there is to do. The pauses between so many add up to 4 seconds at most.
const conflictTries = 12

// transact writes all or nothing, and tries again while other transactions are
// in the way. The client request token makes doing it twice doing it once.
func transact(ctx context.Context, client *dynamodb.Client, input *dynamodb.TransactWriteItemsInput) error {
	for tries := 0; ; tries++ {
		_, err := client.TransactWriteItems(ctx, input)
		if err == nil || !inTheWay(err) || tries+1 == conflictTries {
			return err
		}
		if waited := Yield(ctx, tries); waited != nil {
			return fmt.Errorf("waiting for other transactions: %w", err)
		}
	}
}

// The longest pauses of [Yield]: after the first try, and after any.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = 640 * time.Millisecond
)

// Yield waits after a write that others were in the way of, before it is tried
// again: at random, so that they do not meet again, and up to 10 ms after no earlier
// try, 20 ms after one, 40, 80 … 640 ms. The error is the context's.
func Yield(ctx context.Context, earlier int) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(rand.N(min(firstPause<<min(earlier, 6), lastPause))):
		return nil
	}
}

// inTheWay says whether only another transaction kept this one from happening.
func inTheWay(err error) bool {
	if _, running := errors.AsType[*types.TransactionInProgressException](err); running {
		return true
	}
	cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
	return ok && slices.ContainsFunc(cancelled.CancellationReasons, func(reason types.CancellationReason) bool {
		return aws.ToString(reason.Code) == "TransactionConflict"
	})
}

// failedConditions tells, for each item of a cancelled transaction, whether its
// condition did not hold. Empty for any other error.
func failedConditions(err error) []bool {
	cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
	if !ok {
		return nil
	}
	failed := make([]bool, len(cancelled.CancellationReasons))
	for i, reason := range cancelled.CancellationReasons {
		failed[i] = aws.ToString(reason.Code) == "ConditionalCheckFailed"
	}
	return failed
}
