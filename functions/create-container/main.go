// Command create-container adds a container to the registry.
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
	"containertriggers/shared/domain/container"
)

type settings struct {
	httpapi.Settings
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	NamespacesTable string `env:"NAMESPACES_TABLE,required,notEmpty"`
	CountsTable     string `env:"COUNTS_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
	AllowHTTP       bool   `env:"ALLOW_HTTP_ENDPOINTS" envDefault:"false"`
}

func main() {
	httpapi.Start(func(s settings, cfg aws.Config, db *dynamodb.Client) httpapi.Operation[draft] {
		return function{
			containers: store.Containers{Client: db, Table: s.ContainersTable, Counts: store.Counts{Client: db, Table: s.CountsTable}},
			namespaces: store.Namespaces{Client: db, Table: s.NamespacesTable},
			sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
			rules:      container.Rules{AllowHTTP: s.AllowHTTP},
			newID:      uuid.NewString,
			now:        time.Now,
		}.operation()
	})
}
