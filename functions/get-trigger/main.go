// Command get-trigger returns a trigger with its last run.
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
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
	RunsTable     string `env:"RUNS_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, _ aws.Config, db *dynamodb.Client) httpapi.Operation[trigger.Trigger] {
		return runs.GetTrigger(store.Triggers{Client: db, Table: s.TriggersTable}, store.Runs{Client: db, Table: s.RunsTable})
	})
}
