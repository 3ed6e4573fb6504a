// Command reconcile makes schedules and other sources match what the API
// functions wrote down.
package main

import (
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/lifecycle"
	"containertriggers/shared/provision"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
)

type settings struct {
	provision.Settings
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	EventBus        string `env:"EVENT_BUS,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	s := env.Must(env.ParseAs[settings]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	sources, err := provision.New(s.Settings, cfg, db, seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID})
	if err != nil {
		panic(err) // Lambda tells it as the reason why the function did not start
	}
	lambda.Start(newFunction(
		sources, table.Triggers{Client: db, Table: s.TriggersTable}, table.Containers{Client: db, Table: s.ContainersTable},
		lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: s.EventBus}, time.Now,
	).handle)
}
