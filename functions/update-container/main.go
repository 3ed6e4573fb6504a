// Command update-container changes what a PATCH names of a container.
package main

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"containertriggers/shared/container"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/operation"
	"containertriggers/shared/seal"
	"containertriggers/shared/secret"
	"containertriggers/shared/table"
)

type settings struct {
	httpapi.Settings
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
	AllowHTTP       bool   `env:"ALLOW_HTTP_ENDPOINTS" envDefault:"false"`
}

func main() {
	httpapi.Start(func(s settings, cfg aws.Config, db *dynamodb.Client) httpapi.Operation[container.Container] {
		kind := operation.Kind[container.Container]{Name: container.Resource, Table: table.Containers{Client: db, Table: s.ContainersTable}}
		sealer := seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID}
		rules := container.Rules{AllowHTTP: s.AllowHTTP}
		return kind.Update(sealer, func(old container.Container, body []byte) (container.Container, *secret.Text, error) {
			return old.Update(body, rules, time.Now())
		})
	})
}
