// Package provisiontest connects tests to the sources of the deployed functions on the test
// binary's moto.
package provisiontest

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/caarlos0/env/v11"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/source"
)

// Sources returns the sources like reconcile does, with the AWS configuration of the test.
func Sources(tb testing.TB, cfg aws.Config) source.Sources {
	tb.Helper()
	variables := mototest.Environment(tb, "reconcile")
	variables["AWS_ENDPOINT_URL"] = *mototest.Config(tb).BaseEndpoint
	settings, err := env.ParseAsWithOptions[source.Settings](env.Options{Environment: variables})
	if err != nil {
		tb.Fatal(err)
	}
	sealer := seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: variables["KMS_KEY_ID"]}
	sources, err := source.New(settings, cfg, dynamodb.NewFromConfig(cfg), sealer, &eventsource.Pace{})
	if err != nil {
		tb.Fatal(err)
	}
	return sources
}
