// Command list-container returns a page of the containers that the caller may read.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/listing"
)

type settings struct {
	httpapi.Settings
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	CountsTable     string `env:"COUNTS_TABLE,required,notEmpty"`
	SnapshotsTable  string `env:"SNAPSHOTS_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, _ aws.Config, db *dynamodb.Client) httpapi.Operation[listing.Query] {
		handlers := resource.Handlers[container.Container]{Name: container.Resource, Store: store.Containers{
			Client: db, Table: s.ContainersTable,
			Counts: store.Counts{Client: db, Table: s.CountsTable}, Snapshots: store.Snapshots{Client: db, Table: s.SnapshotsTable},
		}}
		return handlers.List("containers", listing.Containers)
	})
}
