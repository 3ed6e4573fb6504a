package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
)

// gaps are the promises that the emulator cannot show.
var gaps struct {
	mu    sync.Mutex
	names []string
}

// enforcesKeys reports whether the emulator's SQS looks at who asks. If it does not,
// what the test promises is told at the end as not shown.
func enforcesKeys(t *testing.T, promise string) bool {
	t.Helper()
	enforced, err := looksAtKeys()
	if err != nil {
		t.Fatal(err)
	}
	if !enforced {
		tellGap(t, promise)
	}
	return enforced
}

// tellGap adds a promise to those that the emulator cannot show.
func tellGap(t *testing.T, promise string) {
	gaps.mu.Lock()
	defer gaps.mu.Unlock()
	gaps.names = append(gaps.names, t.Name()+": "+promise)
}

// isUnknownOperation reports whether the emulator does not have an operation of AWS.
func isUnknownOperation(err error) bool {
	refused, ok := errors.AsType[smithy.APIError](err)
	return ok && refused.ErrorCode() == "UnknownOperationException"
}

// needsKeys skips a test of which nothing can be shown if the emulator's SQS does
// not look at who asks.
func needsKeys(t *testing.T, promise string) {
	t.Helper()
	if !enforcesKeys(t, promise) {
		t.Skip("the emulator's SQS takes any key")
	}
}

// looksAtKeys asks with a key that nobody has.
var looksAtKeys = sync.OnceValues(func() (bool, error) {
	w, err := shared()
	if err != nil {
		return false, err
	}
	cfg := w.AWSConfig()
	cfg.Credentials = credentials.NewStaticCredentialsProvider("AKIAMADEUPMADEUP1234", "made-up", "")
	_, err = sqs.NewFromConfig(cfg).ListQueues(context.Background(), &sqs.ListQueuesInput{})
	if err == nil {
		return false, nil
	}
	if _, refused := errors.AsType[smithy.APIError](err); !refused {
		return false, fmt.Errorf("asking if the emulator looks at keys: %w", err)
	}
	return true, nil
})

// notShown lists what the emulator could not show, empty if that is nothing.
func notShown() string {
	gaps.mu.Lock()
	defer gaps.mu.Unlock()
	slices.Sort(gaps.names)
	var text strings.Builder
	for _, name := range gaps.names {
		text.WriteString("  " + name + "\n")
	}
	return text.String()
}
