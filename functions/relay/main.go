// Command relay holds the subscriptions of triggers for whose source AWS has no
// event source mapping.
package main

import (
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/invoke"
	"containertriggers/shared/queue"
	"containertriggers/shared/relay"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
	"containertriggers/shared/target"
)

type settings struct {
	TriggersTable   string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	ClaimsTable     string `env:"CLAIMS_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
	DeadLettersURL  string `env:"DEAD_LETTERS_URL,required,notEmpty"`
	DeadLettersARN  string `env:"DEAD_LETTERS_ARN,required,notEmpty"`
	Concurrency     int    `env:"RELAY_CONCURRENCY,required"`
	AllowPrivate    bool   `env:"ALLOW_PRIVATE_ENDPOINTS" envDefault:"false"`
	Emulator        string `env:"AWS_ENDPOINT_URL"`
}

// gcPercent lets the heap, of some megabytes, grow more than usual between
// collections: a good part of a message's cost is garbage.
const gcPercent = 150

func main() {
	debug.SetGCPercent(gcPercent)
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	s := env.Must(env.ParseAs[settings]())
	home, err := queue.HomeOf(s.DeadLettersARN, s.Emulator)
	if err != nil {
		panic(err) // Lambda tells it as the reason why the function did not start
	}
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	outside := invoke.Settings{AllowPrivate: s.AllowPrivate}
	f := function{
		relay: &relay.Relay{
			Finder: target.Finder{
				Triggers:   table.Triggers{Client: db, Table: s.TriggersTable},
				Containers: table.Containers{Client: db, Table: s.ContainersTable},
				Sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
				Now:        time.Now,
			},
			Claims: table.Claims{Client: db, Table: s.ClaimsTable},
			Caller: invoke.New(outside), Dialer: invoke.Dialer(outside), Home: home,
			Dead:        relay.DeadLetters{Client: sqs.NewFromConfig(cfg), URL: s.DeadLettersURL},
			Concurrency: s.Concurrency,
		},
		stop: make(chan struct{}), running: &sync.WaitGroup{},
	}
	lambda.StartWithOptions(f.handle, lambda.WithEnableSIGTERM(func() {
		f.end()
		os.Exit(0)
	}))
}
