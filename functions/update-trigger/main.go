// Command update-trigger changes what a PATCH names of a trigger.
package main

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
)

type settings struct {
	httpapi.Settings
	TriggersTable string `env:"TRIGGERS_TABLE,required,notEmpty"`
	KMSKeyID      string `env:"KMS_KEY_ID,required,notEmpty"`
}

func main() {
	s := env.Must(env.ParseAs[settings]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	httpapi.Start(s.Settings, db, function{
		triggers: table.Triggers{Client: db, Table: s.TriggersTable},
		sealer:   seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
		now:      time.Now,
	}.operation())
}
