// Command list-trigger answers a page of the triggers that the caller may read.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/httpapi"
	"containertriggers/shared/listing"
	"containertriggers/shared/operation"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

type settings struct {
	httpapi.Settings
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, _ aws.Config, db *dynamodb.Client) httpapi.Operation[listing.Query] {
		kind := operation.Kind[trigger.Trigger]{Name: trigger.Resource, Table: table.Triggers{Client: db, Table: s.TriggersTable}}
		return kind.List("triggers", listing.Triggers)
	})
}
