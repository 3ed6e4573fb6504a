// Command update-container changes the fields of a container that a PATCH names.
package main

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/container"
)

type settings struct {
	httpapi.Settings
	TriggersTable   string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
	AllowHTTP       bool   `env:"ALLOW_HTTP_ENDPOINTS" envDefault:"false"`
}

func main() {
	httpapi.Start(func(s settings, cfg aws.Config, db *dynamodb.Client) httpapi.Operation[container.Container] {
		handlers := resource.Handlers[container.Container]{Name: container.Resource, Store: store.Containers{Client: db, Table: s.ContainersTable}}
		return handlers.Update(function{
			triggers: store.Triggers{Client: db, Table: s.TriggersTable},
			sealer:   seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
			rules:    container.Rules{AllowHTTP: s.AllowHTTP},
			now:      time.Now,
		}.change)
	})
}
