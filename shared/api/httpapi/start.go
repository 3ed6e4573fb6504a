package httpapi

import (
	"cmp"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/platform/awsconfig"
	"containertriggers/shared/platform/logs"
)

// Settings are the settings that all functions of the API share. A function embeds them in
// its own settings.
type Settings struct {
	KeysTable string `env:"KEYS_TABLE,required,notEmpty"`
	// Regions are the regions that the deployment serves.
	Regions []string `env:"REGIONS,required,notEmpty"`
	// Domain is the deployment's domain. If it is empty, the host name of each request is used
	// instead.
	Domain string `env:"API_DOMAIN"`
}

// common returns the shared settings of the settings in which they are embedded.
func (s Settings) common() Settings { return s }

// DomainOf returns the deployment's domain, or the host name of the request.
func (s Settings) DomainOf(event events.APIGatewayV2HTTPRequest) string {
	return cmp.Or(s.Domain, event.RequestContext.DomainName)
}

// Start runs a Lambda function of the API. It reads the settings S from the environment,
// passes them to the function that makes the operation, and serves the operation until
// Lambda ends the process. If a setting is missing, the process ends at once with one line
// that names the setting.
func Start[S interface{ common() Settings }, T any](operation func(S, aws.Config, *dynamodb.Client) Operation[T]) {
	logs.Start()
	settings := awsconfig.Settings[S]()
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	common := settings.common()
	authenticator := auth.NewAuthenticator(store.Keys{Client: db, Table: common.KeysTable}, time.Now)
	lambda.Start(New(authenticator, common, operation(settings, cfg, db)))
}
