// Command preview-schedule returns a schedule in words and its next runs, without a trigger.
package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/trigger"
)

func main() {
	httpapi.Start(func(httpapi.Settings, aws.Config, *dynamodb.Client) httpapi.Operation[struct{}] {
		return httpapi.Operation[struct{}]{
			Resource: trigger.Resource, ReadOnly: true,
			Do: func(_ context.Context, _ auth.Principal, r httpapi.Request, _ struct{}) (any, error) {
				return trigger.Preview(r.Body, time.Now())
			},
		}
	})
}
