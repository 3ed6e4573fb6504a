// Command sweep repairs what reconcile is not told of, and keeps relays running.
package main

import (
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/provision"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
)

type settings struct {
	provision.Settings
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	Stack           string `env:"STACK,required,notEmpty"`
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	s := env.Must(env.ParseAs[settings]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	sources, err := provision.New(s.Settings, cfg, db, seal.Sealer{}) // it opens no secret
	if err != nil {
		panic(err) // Lambda tells it as the reason why the function did not start
	}
	lambda.Start(newFunction(sources, table.Containers{Client: db, Table: s.ContainersTable}, s.Stack, time.Now).handle)
}
