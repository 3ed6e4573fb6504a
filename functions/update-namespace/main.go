// Command update-namespace changes the fields of a namespace that a PATCH names.
package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/namespace"
)

type settings struct {
	httpapi.Settings
	NamespacesTable string `env:"NAMESPACES_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, cfg aws.Config, db *dynamodb.Client) httpapi.Operation[namespace.Namespace] {
		handlers := resource.Handlers[namespace.Namespace]{Name: namespace.Resource, Store: store.Namespaces{Client: db, Table: s.NamespacesTable}}
		sealer := seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID}
		return handlers.Update(func(ctx context.Context, old namespace.Namespace, body []byte) (namespace.Namespace, error) {
			updated, secrets, err := old.Update(body, time.Now())
			if err != nil {
				return updated, err
			}
			return updated.Seal(secrets, sealer.For(ctx, namespace.Resource, old.ID))
		})
	})
}
