// Command relay subscribes to the sources for which AWS has no event source mapping, and
// calls containers for their messages.
package main

import (
	"runtime/debug"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"containertriggers/shared/aws/queue"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/record"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/platform/awsconfig"
	"containertriggers/shared/platform/logs"
	"containertriggers/shared/relay"
)

type settings struct {
	TriggersTable   string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable string `env:"CONTAINERS_TABLE,required,notEmpty"`
	ClaimsTable     string `env:"CLAIMS_TABLE,required,notEmpty"`
	KMSKeyID        string `env:"KMS_KEY_ID,required,notEmpty"`
	DeadLettersURL  string `env:"DEAD_LETTERS_URL,required,notEmpty"`
	DeadLettersARN  string `env:"DEAD_LETTERS_ARN,required,notEmpty"`
	Concurrency     int    `env:"RELAY_CONCURRENCY,required"`
	Recording       record.Settings
	MemoryMB        int64 `env:"AWS_LAMBDA_FUNCTION_MEMORY_SIZE,required"`
	Outside         invoke.Settings
}

const (
	// gcPercent lets the heap grow more than usual between collections. The heap has only a
	// few megabytes, and garbage collection is a good part of a message's cost.
	gcPercent = 150
	// limitPercent is the part of the function's memory at which garbage collection makes
	// every effort. Lambda ends a process that exceeds its memory. The rest is for memory
	// that the Go runtime does not manage.
	limitPercent = 85
	// messagesPercent is the part of the function's memory that messages may use.
	messagesPercent = 50
	// awsConnections is the maximum number of connections to each of DynamoDB, KMS and SQS.
	awsConnections = 24
)

func main() {
	logs.Start()
	s := awsconfig.Settings[settings]()
	debug.SetGCPercent(gcPercent)
	memory := s.MemoryMB << 20
	debug.SetMemoryLimit(memory * limitPercent / 100)
	home, err := queue.HomeOf(s.DeadLettersARN, s.Outside.Emulator)
	if err != nil {
		awsconfig.Fatal(err)
	}
	cfg := awsconfig.FromEnvironment()
	awsconfig.LimitConnections(&cfg, awsConnections)
	db := dynamodb.NewFromConfig(cfg)
	f := function{
		relay: &relay.Relay{
			Resolver: resolve.Resolver{
				Triggers:   store.Triggers{Client: db, Table: s.TriggersTable},
				Containers: store.Containers{Client: db, Table: s.ContainersTable},
				Sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
				Tokens:     &resolve.Tokens{},
				Now:        time.Now,
			},
			Leases:    store.Leases{Client: db, Table: s.ClaimsTable},
			Positions: store.Positions{Client: db, Table: s.ClaimsTable},
			Caller:    invoke.New(s.Outside), Dialer: invoke.Dialer(s.Outside), Home: home,
			DeadLetters: relay.DeadLetters{Client: sqs.NewFromConfig(cfg), URL: s.DeadLettersURL},
			Recorder:    record.FromSettings(s.Recording, db),
			Concurrency: s.Concurrency, Stack: s.Recording.Stack, Memory: memory * messagesPercent / 100,
		},
	}
	lambda.Start(f.handle)
}
