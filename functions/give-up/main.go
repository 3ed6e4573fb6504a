// Command give-up makes failed runs of the events that AWS gave up.
package main

import (
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/platform/awsconfig"
	"containertriggers/shared/platform/logs"
	"containertriggers/shared/relay"
)

type settings struct {
	TriggersTable    string `env:"TRIGGERS_TABLE,required,notEmpty"`
	RunsTable        string `env:"RUNS_TABLE,required,notEmpty"`
	RunRetentionDays int    `env:"RUN_RETENTION_DAYS,required"`
	EventBus         string `env:"EVENT_BUS,required,notEmpty"`
	Stack            string `env:"STACK,required,notEmpty"`
	DeadLettersURL   string `env:"DEAD_LETTERS_URL,required,notEmpty"`
}

func main() {
	logs.Start()
	s := awsconfig.Settings[settings]()
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	lambda.Start(function{
		triggers:    store.Triggers{Client: db, Table: s.TriggersTable},
		runs:        store.Runs{Client: db, Table: s.RunsTable, Retention: store.Days(s.RunRetentionDays)},
		bus:         lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: s.EventBus},
		deadLetters: relay.DeadLetters{Client: sqs.NewFromConfig(cfg), URL: s.DeadLettersURL},
		stack:       s.Stack,
		now:         time.Now,
	}.handle)
}
