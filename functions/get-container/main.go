// Command get-container answers one container.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/container"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/operation"
	"containertriggers/shared/table"
)

type settings struct {
	httpapi.Settings
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, _ aws.Config, db *dynamodb.Client) httpapi.Operation[container.Container] {
		kind := operation.Kind[container.Container]{Name: container.Resource, Table: table.Containers{Client: db, Table: s.ContainersTable}}
		return kind.Get()
	})
}
