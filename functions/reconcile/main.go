// Command reconcile makes the sources of triggers match the triggers' rows, which the API
// functions write. It also completes deletions of containers and namespaces.
package main

import (
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/platform/awsconfig"
	"containertriggers/shared/platform/logs"
	"containertriggers/shared/source"
)

type settings struct {
	source.Settings
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	NamespacesTable string `env:"NAMESPACES_TABLE,required,notEmpty"`
	CountsTable     string `env:"COUNTS_TABLE,required,notEmpty"`
	EventBus        string `env:"EVENT_BUS,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
	MappingChanges  string `env:"MAPPING_CHANGES_URL,required,notEmpty"`
}

func main() {
	logs.Start()
	s := awsconfig.Settings[settings]()
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	pace := &eventsource.Pace{Interval: eventsource.RunInterval}
	sources, err := source.New(s.Settings, cfg, db, seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID}, pace)
	if err != nil {
		awsconfig.Fatal(err)
	}
	counts := store.Counts{Client: db, Table: s.CountsTable}
	lambda.Start(newFunction(
		sources, store.Triggers{Client: db, Table: s.TriggersTable, Counts: counts}, store.Containers{Client: db, Table: s.ContainersTable, Counts: counts},
		store.Namespaces{Client: db, Table: s.NamespacesTable, Counts: counts},
		lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: s.EventBus},
		changes{client: sqs.NewFromConfig(cfg), url: s.MappingChanges, pace: pace}, time.Now,
	).handle)
}
