// Command delete-container marks a container for deletion. The function reconcile deletes its
// triggers and then the container.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/container"
)

type settings struct {
	httpapi.Settings
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, _ aws.Config, db *dynamodb.Client) httpapi.Operation[container.Container] {
		handlers := resource.Handlers[container.Container]{Name: container.Resource, Store: store.Containers{Client: db, Table: s.ContainersTable}}
		return handlers.Delete()
	})
}
