// Command create-trigger creates a trigger for a container that the caller may read.
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
	Quotas          store.Quotas
	TriggersTable   string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	CountsTable     string `env:"COUNTS_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, cfg aws.Config, db *dynamodb.Client) httpapi.Operation[draft] {
		return function{
			triggers:   store.Triggers{Client: db, Table: s.TriggersTable, Counts: store.Counts{Client: db, Table: s.CountsTable}, Quotas: s.Quotas},
			containers: store.Containers{Client: db, Table: s.ContainersTable},
			sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
			newID:      uuid.NewString,
			now:        time.Now,
		}.operation()
	})
}
