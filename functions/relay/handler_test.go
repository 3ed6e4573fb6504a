package main

import (
	"sync"
	"testing"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"containertriggers/shared/shard"
)

func TestAnEventMustNameAShard(t *testing.T) {
	t.Parallel()
	f := function{stop: make(chan struct{}), running: &sync.WaitGroup{}}
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "r"})
	if err := f.handle(ctx, shard.Start{}); err == nil {
		t.Error("an event without a shard was taken")
	}
	f.end() // nothing runs, and so nothing is waited for
}
