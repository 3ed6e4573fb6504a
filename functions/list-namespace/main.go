// Command list-namespace returns a page of the namespaces that the caller may read.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/listing"
	"containertriggers/shared/domain/namespace"
)

type settings struct {
	httpapi.Settings
	NamespacesTable string `env:"NAMESPACES_TABLE,required,notEmpty"`
	CountsTable     string `env:"COUNTS_TABLE,required,notEmpty"`
	SnapshotsTable  string `env:"SNAPSHOTS_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, _ aws.Config, db *dynamodb.Client) httpapi.Operation[listing.Query] {
		handlers := resource.Handlers[namespace.Namespace]{Name: namespace.Resource, Store: store.Namespaces{
			Client: db, Table: s.NamespacesTable,
			Counts: store.Counts{Client: db, Table: s.CountsTable}, Snapshots: store.Snapshots{Client: db, Table: s.SnapshotsTable},
		}}
		return handlers.List("namespaces", listing.Namespaces)
	})
}
