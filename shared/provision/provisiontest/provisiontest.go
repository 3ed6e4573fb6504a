// Package provisiontest gives tests the sources that the deployed functions work
// on, on the test binary's moto.
package provisiontest

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/caarlos0/env/v11"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/provision"
	"containertriggers/shared/seal"
)

// Sources makes them as reconcile does, with an AWS of the test's choice.
func Sources(tb testing.TB, cfg aws.Config) provision.Sources {
	tb.Helper()
	variables := mototest.Environment(tb, "reconcile")
	variables["AWS_ENDPOINT_URL"] = *mototest.Config(tb).BaseEndpoint
	settings, err := env.ParseAsWithOptions[provision.Settings](env.Options{Environment: variables})
	if err != nil {
		tb.Fatal(err)
	}
	sealer := seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: variables["KMS_KEY_ID"]}
	sources, err := provision.New(settings, cfg, dynamodb.NewFromConfig(cfg), sealer)
	if err != nil {
		tb.Fatal(err)
	}
	return sources
}
