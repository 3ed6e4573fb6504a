// Package awsconfig makes the AWS SDK's configuration of what Lambda puts into
// a function's environment, and of nothing else.
//
// The SDK's own config.LoadDefaultConfig looks through files, profiles and
// metadata services as well, which a function never needs and pays for at each
// start.
package awsconfig

import (
	"context"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// attemptTimeout bounds one try of a call, so that the SDK's next one still
// fits into an API function's time.
const attemptTimeout = 5 * time.Second

// FromEnvironment reads AWS_REGION, the credentials that Lambda gives for the
// lifetime of an execution environment, and AWS_ENDPOINT_URL, which points all
// services to an emulator.
func FromEnvironment() aws.Config {
	cfg := aws.Config{
		Region:      os.Getenv("AWS_REGION"),
		Credentials: aws.CredentialsProviderFunc(environmentCredentials),
		HTTPClient:  awshttp.NewBuildableClient().WithTimeout(attemptTimeout),
	}
	if endpoint := os.Getenv("AWS_ENDPOINT_URL"); endpoint != "" {
		cfg.BaseEndpoint = &endpoint
	}
	instrument(&cfg)
	return cfg
}

func environmentCredentials(context.Context) (aws.Credentials, error) {
	return aws.Credentials{
		AccessKeyID:     os.Getenv("AWS_ACCESS_KEY_ID"),
		SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		SessionToken:    os.Getenv("AWS_SESSION_TOKEN"),
		Source:          "environment",
	}, nil
}
