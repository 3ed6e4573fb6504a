package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The SDK does not retry a transaction that DynamoDB cancelled because another
// one held an item, though trying again is all there is to do. Twelve tries
// with these pauses take up to about 4 seconds.
const (
	conflictTries = 12
	conflictPause = 10 * time.Millisecond
	longestPause  = 640 * time.Millisecond
)

// transact writes all or nothing, and tries again while other transactions are
// in the way. The client request token makes doing it twice doing it once.
func transact(ctx context.Context, client *dynamodb.Client, input *dynamodb.TransactWriteItemsInput) error {
	pause := conflictPause
	for try := 1; ; try++ {
		_, err := client.TransactWriteItems(ctx, input)
		if err == nil || !inTheWay(err) || try == conflictTries {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for other transactions: %w", err)
		case <-time.After(pause):
			pause = min(2*pause, longestPause)
		}
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
