// Package mototest gives tests an AWS to talk to: one moto server for each test
// binary, which ends with it. Tests keep out of each other's way by the names
// that they give to things.
package mototest

import (
	"context"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"containertriggers/infra/local/moto"
)

var start = sync.OnceValues(func() (*moto.Server, error) {
	return moto.Start(context.Background(), moto.Python())
})

// Config is the AWS configuration of the test binary's moto server, which is
// started when it is first asked for.
func Config(tb testing.TB) aws.Config {
	tb.Helper()
	server, err := start()
	if err != nil {
		tb.Fatal(err)
	}
	return moto.Config(server.Endpoint())
}
