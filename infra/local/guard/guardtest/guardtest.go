// Package guardtest starts a guard before the test binary's moto, so that tests meet the
// refusals of AWS.
package guardtest

import (
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"containertriggers/infra/local/guard"
	"containertriggers/infra/local/moto/mototest"
)

// Start gives a guard of the test's own, and the AWS configuration that leads to it.
func Start(tb testing.TB) (*guard.Guard, aws.Config) {
	tb.Helper()
	cfg := mototest.Config(tb)
	before, err := guard.New(*cfg.BaseEndpoint)
	if err != nil {
		tb.Fatal(err)
	}
	server := httptest.NewServer(before)
	tb.Cleanup(server.Close)
	cfg.BaseEndpoint = &server.URL
	return before, cfg
}
