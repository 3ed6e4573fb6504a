// Command dispatch-queue calls a container for the messages of a queue. The template
// deploys it twice, with a short and a long timeout.
package main

import (
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/record"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/platform/awsconfig"
	"containertriggers/shared/platform/logs"
)

type settings struct {
	TriggersTable   string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	ClaimsTable     string `env:"CLAIMS_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
	EventBus        string `env:"EVENT_BUS,required,notEmpty"`
	Recording       record.Settings
	Outside         invoke.Settings
}

func main() {
	logs.Start()
	s := awsconfig.Settings[settings]()
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	lambda.Start(function{
		targets: &targets{
			Resolver: resolve.Resolver{
				Triggers:   store.Triggers{Client: db, Table: s.TriggersTable},
				Containers: store.Containers{Client: db, Table: s.ContainersTable},
				Sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
				Tokens:     &resolve.Tokens{},
				Now:        time.Now,
			},
			claims: store.Claims{Client: db, Table: s.ClaimsTable},
			cache:  map[string]claimed{},
		},
		messages: sqs.NewFromConfig(cfg),
		bus:      lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: s.EventBus},
		client:   invoke.New(s.Outside),
		recorder: record.FromSettings(s.Recording, db), delivered: newDelivered(),
	}.handle)
}
