// Command update-container changes what a PATCH names of a container.
package main

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/container"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
)

type settings struct {
	httpapi.Settings
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
	AllowHTTP       bool   `env:"ALLOW_HTTP_ENDPOINTS" envDefault:"false"`
}

func main() {
	s := env.Must(env.ParseAs[settings]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	httpapi.Start(s.Settings, db, function{
		containers: table.Containers{Client: db, Table: s.ContainersTable},
		sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
		rules:      container.Rules{AllowHTTP: s.AllowHTTP},
		now:        time.Now,
	}.operation())
}
