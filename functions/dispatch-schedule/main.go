// Command dispatch-schedule calls a container when a schedule of a cron trigger
// is due.
package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/invoke"
	"containertriggers/shared/lifecycle"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
)

type settings struct {
	TriggersTable    string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable  string `env:"CONTAINERS_TABLE,required,notEmpty"`
	InvocationsTable string `env:"INVOCATIONS_TABLE,required,notEmpty"`
	KMSKeyID         string `env:"KMS_KEY_ID,required,notEmpty"`
	EventBus         string `env:"EVENT_BUS,required,notEmpty"`
	MaxDeliveries    int    `env:"MAX_DELIVERIES,required"`
	AllowPrivate     bool   `env:"ALLOW_PRIVATE_ENDPOINTS" envDefault:"false"`
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	s := env.Must(env.ParseAs[settings]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	lambda.Start(function{
		triggers:      table.Triggers{Client: db, Table: s.TriggersTable},
		containers:    table.Containers{Client: db, Table: s.ContainersTable},
		invocations:   table.Invocations{Client: db, Table: s.InvocationsTable},
		sealer:        seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
		bus:           lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: s.EventBus},
		caller:        invoke.New(invoke.Settings{AllowPrivate: s.AllowPrivate}),
		maxDeliveries: s.MaxDeliveries,
		now:           time.Now,
		sleep:         sleep,
	}.handle)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
