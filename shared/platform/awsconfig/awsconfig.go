// Package awsconfig reads the AWS SDK's configuration and a function's settings from the
// environment variables that Lambda sets.
//
// The SDK's own config.LoadDefaultConfig also reads files, profiles and metadata services.
// A function never needs them, but would pay for them at each start.
package awsconfig

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"containertriggers/shared/platform/awsclient"
)

// attemptTimeout limits one attempt of a call, so that the SDK still has time for a retry
// before an API function's deadline.
const attemptTimeout = 5 * time.Second

// FromEnvironment returns the SDK's configuration. It reads AWS_REGION and the credentials,
// which Lambda sets for the lifetime of an execution environment. If AWS_ENDPOINT_URL is
// set, calls to all services go to that emulator.
func FromEnvironment() aws.Config {
	cfg := aws.Config{
		Region:      os.Getenv("AWS_REGION"),
		Credentials: aws.CredentialsProviderFunc(environmentCredentials),
		HTTPClient:  awsclient.WholeAnswers(awshttp.NewBuildableClient().WithTimeout(attemptTimeout)),
	}
	if endpoint := os.Getenv("AWS_ENDPOINT_URL"); endpoint != "" {
		cfg.BaseEndpoint = &endpoint
	}
	instrument(&cfg)
	return cfg
}

// LimitConnections limits the connections to each AWS service. A call beyond the limit waits
// for a connection.
func LimitConnections(cfg *aws.Config, most int) {
	cfg.HTTPClient = awsclient.WholeAnswers(awshttp.NewBuildableClient().WithTimeout(attemptTimeout).WithTransportOptions(func(t *http.Transport) {
		t.MaxConnsPerHost, t.MaxIdleConnsPerHost = most, most
	}))
}

func environmentCredentials(context.Context) (aws.Credentials, error) {
	return aws.Credentials{
		AccessKeyID:     os.Getenv("AWS_ACCESS_KEY_ID"),
		SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		SessionToken:    os.Getenv("AWS_SESSION_TOKEN"),
		Source:          "environment",
	}, nil
}
