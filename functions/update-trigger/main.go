// Command update-trigger changes what a PATCH names of a trigger.
package main

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"containertriggers/shared/httpapi"
	"containertriggers/shared/operation"
	"containertriggers/shared/seal"
	"containertriggers/shared/secret"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

type settings struct {
	httpapi.Settings
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
	KMSKeyID      string `env:"KMS_KEY_ID,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, cfg aws.Config, db *dynamodb.Client) httpapi.Operation[trigger.Trigger] {
		kind := operation.Kind[trigger.Trigger]{Name: trigger.Resource, Table: table.Triggers{Client: db, Table: s.TriggersTable}}
		sealer := seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID}
		return kind.Update(sealer, func(old trigger.Trigger, body []byte) (trigger.Trigger, *secret.Text, error) {
			return old.Update(body, time.Now())
		})
	})
}
