// Command next-runs returns a trigger's schedule in words and its next runs.
package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/trigger"
)

type settings struct {
	httpapi.Settings
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, _ aws.Config, db *dynamodb.Client) httpapi.Operation[trigger.Trigger] {
		handlers := resource.Handlers[trigger.Trigger]{Name: trigger.Resource, Store: store.Triggers{Client: db, Table: s.TriggersTable}}
		return operation(handlers.Get(), time.Now)
	})
}

// operation returns the operation that answers the next runs of the trigger that get
// answers.
func operation(get httpapi.Operation[trigger.Trigger], now func() time.Time) httpapi.Operation[trigger.Trigger] {
	return httpapi.Operation[trigger.Trigger]{
		Resource: get.Resource, Read: get.Read,
		Do: func(ctx context.Context, caller auth.Principal, r httpapi.Request, found trigger.Trigger) (any, error) {
			if _, err := get.Do(ctx, caller, r, found); err != nil {
				return nil, err
			}
			count, err := trigger.CountOfNextRuns(r.Query)
			if err != nil {
				return nil, err
			}
			return found.NextRuns(now(), count)
		},
	}
}
