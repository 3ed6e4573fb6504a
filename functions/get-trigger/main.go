// Command get-trigger answers one trigger.
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
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
}

func main() {
	s := env.Must(env.ParseAs[settings]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	httpapi.Start(s.Settings, db, function{
		triggers: table.Triggers{Client: db, Table: s.TriggersTable},
	}.operation())
}
