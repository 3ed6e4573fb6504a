// Command delete-trigger marks a trigger for deletion. The function reconcile removes the
// setup of its source and then the trigger.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
)

type settings struct {
	httpapi.Settings
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, _ aws.Config, db *dynamodb.Client) httpapi.Operation[trigger.Trigger] {
		handlers := resource.Handlers[trigger.Trigger]{Name: trigger.Resource, Store: store.Triggers{Client: db, Table: s.TriggersTable}}
		return handlers.Delete()
	})
}
