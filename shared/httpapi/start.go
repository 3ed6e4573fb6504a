package httpapi

import (
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/auth"
	"containertriggers/shared/awsconfig"
	"containertriggers/shared/table"
)

// Settings are what every API function reads of its environment. A function
// embeds them in its own settings.
type Settings struct {
	KeysTable string `env:"KEYS_TABLE,required,notEmpty"`
	// Regions are those that the deployment serves.
	Regions []string `env:"REGIONS,required,notEmpty"`
}

func (s Settings) common() Settings { return s }

// Start reads a function's settings of its environment and serves the operation
// that is made of them, as a Lambda function, until Lambda ends it. A setting
// that is missing ends it at once, with the setting's name.
func Start[S interface{ common() Settings }, T any](operation func(S, aws.Config, *dynamodb.Client) Operation[T]) {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	settings := env.Must(env.ParseAs[S]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	common := settings.common()
	authenticator := auth.NewAuthenticator(table.Keys{Client: db, Table: common.KeysTable}, time.Now)
	lambda.Start(New(authenticator, common.Regions, operation(settings, cfg, db)))
}
