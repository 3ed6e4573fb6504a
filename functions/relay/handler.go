package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"containertriggers/shared/relay"
	"containertriggers/shared/shard"
)

// function runs a shard of the relay for as long as Lambda lets it.
type function struct {
	relay *relay.Relay
	// stop is closed when Lambda ends the process; running is what has to end
	// before it may.
	stop    chan struct{}
	running *sync.WaitGroup
}

func (f function) handle(ctx context.Context, start shard.Start) error {
	run, ok := lambdacontext.FromContext(ctx)
	if !ok || start.Shard == "" {
		return fmt.Errorf("the event must name a shard")
	}
	f.running.Add(1)
	defer f.running.Done()
	return f.relay.Run(ctx, start.Shard, run.AwsRequestID, f.stop)
}

// end has the run drain, and returns when it has.
func (f function) end() {
	close(f.stop)
	f.running.Wait()
}
