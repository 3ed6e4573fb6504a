package main

import (
	"testing"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"containertriggers/shared/relay/shard"
)

func TestHandle_RequiresAShard(t *testing.T) {
	t.Parallel()
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "r"})
	if err := (function{}).handle(ctx, shard.StartEvent{}); err == nil {
		t.Error("an event without a shard was taken")
	}
}
