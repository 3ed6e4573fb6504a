// Command sweep finds drift and orphans that no event reports, and has reconcile repair
// them.
package main

import (
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/aws/eventsource"
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
	Stack           string `env:"STACK,required,notEmpty"`
	Reserve         int32  `env:"DISPATCH_CONCURRENCY,required"`
	Rows            int    `env:"SWEEP_ROWS,required"`
}

func main() {
	logs.Start()
	s := awsconfig.Settings[settings]()
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	sources, err := source.New(s.Settings, cfg, db, seal.Sealer{}, &eventsource.Pace{Interval: eventsource.SweepInterval}) // sweep opens no secret
	if err != nil {
		awsconfig.Fatal(err)
	}
	sources.Queues.Mappings.Reserve = s.Reserve
	lambda.Start(newFunction(
		sources, store.Containers{Client: db, Table: s.ContainersTable, Counts: store.Counts{Client: db, Table: s.CountsTable}}, store.Namespaces{Client: db, Table: s.NamespacesTable}, s.Stack, s.Rows, time.Now,
	).handle)
}
