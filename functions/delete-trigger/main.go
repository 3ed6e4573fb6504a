// Command delete-trigger marks a trigger for deletion; reconcile does the rest.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/httpapi"
	"containertriggers/shared/operation"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

type settings struct {
	httpapi.Settings
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, _ aws.Config, db *dynamodb.Client) httpapi.Operation[trigger.Trigger] {
		kind := operation.Kind[trigger.Trigger]{Name: trigger.Resource, Table: table.Triggers{Client: db, Table: s.TriggersTable}}
		return kind.Delete()
	})
}
