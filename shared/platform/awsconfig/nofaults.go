//go:build !faults

package awsconfig

import "github.com/aws/aws-sdk-go-v2/aws"

// instrument does nothing. Builds for tests have a version that injects faults.
func instrument(*aws.Config) {}
