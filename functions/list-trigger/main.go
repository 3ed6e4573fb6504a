// Command list-trigger returns a page of the triggers that the caller may read.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/listing"
	"containertriggers/shared/domain/trigger"
)

type settings struct {
	httpapi.Settings
	TriggersTable  string `env:"TRIGGERS_TABLE,required,notEmpty"`
	CountsTable    string `env:"COUNTS_TABLE,required,notEmpty"`
	SnapshotsTable string `env:"SNAPSHOTS_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, _ aws.Config, db *dynamodb.Client) httpapi.Operation[listing.Query] {
		handlers := resource.Handlers[trigger.Trigger]{Name: trigger.Resource, Store: store.Triggers{
			Client: db, Table: s.TriggersTable,
			Counts: store.Counts{Client: db, Table: s.CountsTable}, Snapshots: store.Snapshots{Client: db, Table: s.SnapshotsTable},
		}}
		return handlers.List("triggers", listing.Triggers)
	})
}
