// Command create-trigger creates a trigger on a container of the caller.
package main

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/uuid"

	"containertriggers/shared/httpapi"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
)

type settings struct {
	httpapi.Settings
	Quotas          quotas
	TriggersTable   string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
}

func main() {
	httpapi.Start(func(s settings, cfg aws.Config, db *dynamodb.Client) httpapi.Operation[draft] {
		triggers := table.Triggers{Client: db, Table: s.TriggersTable}
		return function{
			triggers:   triggers,
			containers: table.Containers{Client: db, Table: s.ContainersTable},
			sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
			room:       newRoom(s.Quotas, triggers, time.Now),
			newID:      uuid.NewString,
			now:        time.Now,
		}.operation()
	})
}
