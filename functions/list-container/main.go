// Command list-container answers a page of the containers that the caller may read.
package main

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/table"
)

type settings struct {
	httpapi.Settings
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
}

func main() {
	s := env.Must(env.ParseAs[settings]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	httpapi.Start(s.Settings, db, function{
		containers: table.Containers{Client: db, Table: s.ContainersTable},
	}.operation())
}
