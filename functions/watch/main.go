// Command watch keeps a run of the relay for each shard that has triggers.
package main

import (
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/platform/awsconfig"
	"containertriggers/shared/platform/logs"
	"containertriggers/shared/relay/watchdog"
)

type settings struct {
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ClaimsTable   string `env:"CLAIMS_TABLE,required,notEmpty"`
	RelayARN      string `env:"RELAY_ARN,required,notEmpty"`
	RelayShards   int    `env:"RELAY_SHARDS,required"`
	Stack         string `env:"STACK,required,notEmpty"`
}

func main() {
	logs.Start()
	s := awsconfig.Settings[settings]()
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	lambda.Start(function{
		triggers: store.Triggers{Client: db, Table: s.TriggersTable},
		starter: watchdog.Starter{
			Client: awslambda.NewFromConfig(cfg), Leases: store.Leases{Client: db, Table: s.ClaimsTable}, RelayARN: s.RelayARN, Now: time.Now,
		},
		shards: s.RelayShards, stack: s.Stack,
	}.handle)
}
