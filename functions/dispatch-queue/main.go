// Command dispatch-queue calls a container for the messages of a queue. It is
// deployed twice, with a short and a long timeout.
package main

import (
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/invoke"
	"containertriggers/shared/lifecycle"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
	"containertriggers/shared/target"
)

type settings struct {
	TriggersTable   string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	ClaimsTable     string `env:"CLAIMS_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
	EventBus        string `env:"EVENT_BUS,required,notEmpty"`
	AllowPrivate    bool   `env:"ALLOW_PRIVATE_ENDPOINTS" envDefault:"false"`
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	s := env.Must(env.ParseAs[settings]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	lambda.Start(function{
		targets: &targets{
			Finder: target.Finder{
				Triggers:   table.Triggers{Client: db, Table: s.TriggersTable},
				Containers: table.Containers{Client: db, Table: s.ContainersTable},
				Sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
				Now:        time.Now,
			},
			claims: table.Claims{Client: db, Table: s.ClaimsTable},
			known:  map[string]claimed{},
		},
		messages: sqs.NewFromConfig(cfg),
		bus:      lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: s.EventBus},
		caller:   invoke.New(invoke.Settings{AllowPrivate: s.AllowPrivate}),
	}.handle)
}
