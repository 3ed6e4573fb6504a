package httpapi

import (
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/auth"
	"containertriggers/shared/table"
)

// Settings are what every API function reads of its environment.
type Settings struct {
	KeysTable string `env:"KEYS_TABLE,required,notEmpty"`
	// Regions are those that the deployment serves.
	Regions []string `env:"REGIONS,required,notEmpty"`
}

// Start serves an operation as a Lambda function until Lambda ends it.
func Start[T any](settings Settings, db *dynamodb.Client, op Operation[T]) {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	authenticator := auth.NewAuthenticator(table.Keys{Client: db, Table: settings.KeysTable}, time.Now)
	lambda.Start(New(authenticator, settings.Regions, op))
}
