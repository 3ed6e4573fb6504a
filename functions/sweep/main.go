// Command sweep brings back to reconcile what it is not done with.
package main

import (
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/table"
)

type settings struct {
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ClaimsTable   string `env:"CLAIMS_TABLE,required,notEmpty"`
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	s := env.Must(env.ParseAs[settings]())
	db := dynamodb.NewFromConfig(awsconfig.FromEnvironment())
	lambda.Start(function{
		triggers: table.Triggers{Client: db, Table: s.TriggersTable},
		claims:   table.Claims{Client: db, Table: s.ClaimsTable},
		now:      time.Now,
	}.handle)
}
