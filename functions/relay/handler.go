package main

import (
	"context"
	"errors"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"containertriggers/shared/relay"
	"containertriggers/shared/relay/shard"
)

// function runs the relay of one shard until Lambda's timeout is near.
type function struct{ relay *relay.Relay }

// handle runs the relay of the shard that the event names. It returns when the run has
// drained, or with an error if the event names no shard.
func (f function) handle(ctx context.Context, start shard.StartEvent) error {
	run, ok := lambdacontext.FromContext(ctx)
	if !ok || start.Shard == "" {
		return errors.New("the event must name a shard")
	}
	// Nothing stops the run early: Lambda shuts an environment down only between invocations.
	return f.relay.Run(ctx, start.Shard, run.AwsRequestID, nil)
}
