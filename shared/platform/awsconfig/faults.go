//go:build faults

package awsconfig

import (
	"github.com/aws/aws-sdk-go-v2/aws"

	"containertriggers/shared/platform/faults"
)

// instrument injects faults into AWS calls. Only builds for tests have this version.
func instrument(cfg *aws.Config) { faults.FromEnvironment().Break(cfg) }
