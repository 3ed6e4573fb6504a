// Command create-namespace adds a namespace to the registry.
package main

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/uuid"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
)

type settings struct {
	httpapi.Settings
	NamespacesTable string `env:"NAMESPACES_TABLE,required,notEmpty"`
	CountsTable     string `env:"COUNTS_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, cfg aws.Config, db *dynamodb.Client) httpapi.Operation[draft] {
		return function{
			namespaces: store.Namespaces{Client: db, Table: s.NamespacesTable, Counts: store.Counts{Client: db, Table: s.CountsTable}},
			sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
			newID:      uuid.NewString,
			now:        time.Now,
		}.operation()
	})
}
