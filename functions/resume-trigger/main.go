// Command resume-trigger ends the pause of a trigger.
package main

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/runs"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
)

type settings struct {
	httpapi.Settings
	TriggersTable    string `env:"TRIGGERS_TABLE,required,notEmpty"`
	RunsTable        string `env:"RUNS_TABLE,required,notEmpty"`
	RunRetentionDays int    `env:"RUN_RETENTION_DAYS,required"`
	CatchUpURL       string `env:"CATCH_UP_URL,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, cfg aws.Config, db *dynamodb.Client) httpapi.Operation[trigger.Trigger] {
		return runs.CatchUp{
			Runs:     store.Runs{Client: db, Table: s.RunsTable, Retention: store.Days(s.RunRetentionDays)},
			Triggers: store.Triggers{Client: db, Table: s.TriggersTable},
			Client:   sqs.NewFromConfig(cfg), QueueURL: s.CatchUpURL, Now: time.Now,
		}.Resume()
	})
}
