//go:build faults

package awsconfig

import (
	"github.com/aws/aws-sdk-go-v2/aws"

	"containertriggers/infra/faults"
)

// instrument breaks calls: a build for tests.
func instrument(cfg *aws.Config) { faults.FromEnvironment().Break(cfg) }
