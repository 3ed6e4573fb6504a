// Command list-run returns a page of the runs that the caller may read.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/runs"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/run"
)

type settings struct {
	httpapi.Settings
	RunsTable string `env:"RUNS_TABLE,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, _ aws.Config, db *dynamodb.Client) httpapi.Operation[run.Query] {
		return runs.List(store.Runs{Client: db, Table: s.RunsTable})
	})
}
