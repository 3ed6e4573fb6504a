// Command dispatch-run makes one attempt of a run that a caller of the API asked for.
package main

import (
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/platform/awsconfig"
	"containertriggers/shared/platform/logs"
)

type settings struct {
	TriggersTable    string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable  string `env:"CONTAINERS_TABLE,required,notEmpty"`
	RunsTable        string `env:"RUNS_TABLE,required,notEmpty"`
	RunRetentionDays int    `env:"RUN_RETENTION_DAYS,required"`
	Stack            string `env:"STACK,required,notEmpty"`
	KMSKeyID         string `env:"KMS_KEY_ID,required,notEmpty"`
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
		runs:   store.Runs{Client: db, Table: s.RunsTable, Retention: store.Days(s.RunRetentionDays)},
		client: invoke.New(s.Outside),
		stack:  s.Stack,
	}.handle)
}
