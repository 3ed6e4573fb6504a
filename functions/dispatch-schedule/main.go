// Command dispatch-schedule calls a container when a schedule of a cron trigger fires.
package main

import (
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/platform/awsconfig"
	"containertriggers/shared/platform/backoff"
	"containertriggers/shared/platform/logs"
)

type settings struct {
	TriggersTable    string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable  string `env:"CONTAINERS_TABLE,required,notEmpty"`
	RunsTable        string `env:"RUNS_TABLE,required,notEmpty"`
	RunRetentionDays int    `env:"RUN_RETENTION_DAYS,required"`
	KMSKeyID         string `env:"KMS_KEY_ID,required,notEmpty"`
	EventBus         string `env:"EVENT_BUS,required,notEmpty"`
	MaxDeliveries    int    `env:"MAX_DELIVERIES,required"`
	Stack            string `env:"STACK,required,notEmpty"`
	Outside          invoke.Settings
}

func main() {
	logs.Start()
	s := awsconfig.Settings[settings]()
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	lambda.Start(function{
		resolver: resolve.Resolver{
			Triggers:   store.Triggers{Client: db, Table: s.TriggersTable},
			Containers: store.Containers{Client: db, Table: s.ContainersTable},
			Sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
			Tokens:     &resolve.Tokens{},
			Now:        time.Now,
		},
		runs:          store.Runs{Client: db, Table: s.RunsTable, Retention: store.Days(s.RunRetentionDays)},
		bus:           lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: s.EventBus},
		client:        invoke.New(s.Outside),
		maxDeliveries: s.MaxDeliveries,
		stack:         s.Stack,
		sleep:         backoff.Sleep,
	}.handle)
}
