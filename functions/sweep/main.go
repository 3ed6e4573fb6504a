// Command sweep brings back to reconcile what it is not done with.
package main

import (
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/table"
	"containertriggers/shared/watchdog"
)

type settings struct {
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ClaimsTable   string `env:"CLAIMS_TABLE,required,notEmpty"`
	RelayARN      string `env:"RELAY_ARN,required,notEmpty"`
	RelayShards   int    `env:"RELAY_SHARDS,required"`
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	s := env.Must(env.ParseAs[settings]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	claims := table.Claims{Client: db, Table: s.ClaimsTable}
	lambda.Start(function{
		triggers: table.Triggers{Client: db, Table: s.TriggersTable},
		claims:   claims,
		relays:   watchdog.Starter{Client: awslambda.NewFromConfig(cfg), Claims: claims, RelayARN: s.RelayARN, Now: time.Now},
		shards:   s.RelayShards,
		now:      time.Now,
	}.handle)
}
