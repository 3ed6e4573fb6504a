// Command create-trigger creates a trigger on a container of the caller.
package main

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/caarlos0/env/v11"
	"github.com/google/uuid"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
)

type settings struct {
	httpapi.Settings
	TriggersTable   string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
}

func main() {
	s := env.Must(env.ParseAs[settings]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	httpapi.Start(s.Settings, db, function{
		triggers:   table.Triggers{Client: db, Table: s.TriggersTable},
		containers: table.Containers{Client: db, Table: s.ContainersTable},
		sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
		newID:      uuid.NewString,
		now:        time.Now,
	}.operation())
}
