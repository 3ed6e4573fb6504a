// Command get-namespace returns a namespace.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/namespace"
)

type settings struct {
	httpapi.Settings
	NamespacesTable string `env:"NAMESPACES_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, _ aws.Config, db *dynamodb.Client) httpapi.Operation[namespace.Namespace] {
		handlers := resource.Handlers[namespace.Namespace]{Name: namespace.Resource, Store: store.Namespaces{Client: db, Table: s.NamespacesTable}}
		return handlers.Get()
	})
}
