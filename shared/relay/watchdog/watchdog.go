// Package watchdog starts the runs of shards. It is not part of package shard, so that the
// relay's function does not contain the client of Lambda.
package watchdog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/relay/shard"
)

// API is the part of the Lambda client that Starter uses.
type API interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Starter starts runs of the relay.
type Starter struct {
	Client API
	Leases store.Leases
	// RelayARN is the ARN of the relay's function.
	RelayARN string
	Now      func() time.Time
}

// Start starts a run if the shard wants one. It may start several runs for one shard: all
// but one of them return at once.
func (s Starter) Start(ctx context.Context, of string) error {
	lease, err := s.Leases.Get(ctx, of)
	if err != nil || !lease.Wanted(s.Now()) {
		return err
	}
	payload, err := json.Marshal(shard.StartEvent{Shard: of})
	if err != nil {
		return fmt.Errorf("encoding a relay's event: %w", err)
	}
	_, err = s.Client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &s.RelayARN, InvocationType: types.InvocationTypeEvent, Payload: payload})
	if err != nil {
		return fmt.Errorf("starting relay %s: %w", of, err)
	}
	return nil
}
