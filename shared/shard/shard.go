// Package shard spreads triggers over the shards of the relay, and brings a relay
// to a shard that wants one.
package shard

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"containertriggers/shared/table"
)

// Of is the shard of a trigger, one of so many.
func Of(triggerID string, shards int) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(triggerID)) // never fails
	return strconv.Itoa(int(hash.Sum32() % uint32(shards)))
}

// Start is what the relay is invoked with: run that shard.
type Start struct {
	Shard string `json:"shard"`
}

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
func (s Starter) Start(ctx context.Context, shard string) error {
	lease, err := s.Claims.Lease(ctx, shard)
	if err != nil || !lease.Wanted(s.Now()) {
		return err
	}
	payload, err := json.Marshal(Start{shard})
	if err != nil {
		return fmt.Errorf("encoding a relay's event: %w", err)
	}
	_, err = s.Client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &s.RelayARN, InvocationType: types.InvocationTypeEvent, Payload: payload})
	if err != nil {
		return fmt.Errorf("starting relay %s: %w", shard, err)
	}
	return nil
}
