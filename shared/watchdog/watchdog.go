// Package watchdog brings a relay to a shard that wants one. It is apart from
// package shard, so that the relay need not load Lambda's client.
package watchdog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"containertriggers/shared/shard"
	"containertriggers/shared/table"
)

// API is what a Starter needs of the Lambda client.
type API interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Starter starts relays.
type Starter struct {
	Client API
	Claims table.Claims
	// RelayARN is the function.
	RelayARN string
	Now      func() time.Time
}

// Start starts a relay for a shard that wants one. Where several are started, all
// but one leave at once.
func (s Starter) Start(ctx context.Context, of string) error {
	lease, err := s.Claims.Lease(ctx, of)
	if err != nil || !lease.Wanted(s.Now()) {
		return err
	}
	payload, err := json.Marshal(shard.Start{Shard: of})
	if err != nil {
		return fmt.Errorf("encoding a relay's event: %w", err)
	}
	_, err = s.Client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &s.RelayARN, InvocationType: types.InvocationTypeEvent, Payload: payload})
	if err != nil {
		return fmt.Errorf("starting relay %s: %w", of, err)
	}
	return nil
}
