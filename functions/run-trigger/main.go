// Command run-trigger runs a trigger now.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/runs"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
)

type settings struct {
	httpapi.Settings
	runs.StarterSettings
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, cfg aws.Config, db *dynamodb.Client) httpapi.Operation[trigger.Trigger] {
		return runs.NewStarter(s.StarterSettings, store.Triggers{Client: db, Table: s.TriggersTable}, cfg).Run()
	})
}
