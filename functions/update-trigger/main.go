// Command update-trigger changes the fields of a trigger that a PATCH names.
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
	"containertriggers/shared/domain/trigger"
)

type settings struct {
	httpapi.Settings
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
	KMSKeyID      string `env:"KMS_KEY_ID,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, cfg aws.Config, db *dynamodb.Client) httpapi.Operation[trigger.Trigger] {
		handlers := resource.Handlers[trigger.Trigger]{Name: trigger.Resource, Store: store.Triggers{Client: db, Table: s.TriggersTable}}
		sealer := seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID}
		return handlers.Update(func(ctx context.Context, old trigger.Trigger, body []byte) (trigger.Trigger, error) {
			updated, text, err := old.Update(body, time.Now())
			if err != nil || text == nil {
				return updated, err
			}
			sealed, err := sealer.Seal(ctx, trigger.Resource, old.ID, *text)
			return updated.WithSecret(sealed), err
		})
	})
}
