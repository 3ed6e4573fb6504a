// Command reconcile makes schedules and other sources match what the API
// functions wrote down. It alone touches them.
package main

import (
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/lifecycle"
	"containertriggers/shared/mapping"
	"containertriggers/shared/queue"
	"containertriggers/shared/schedule"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
	"containertriggers/shared/watchdog"
)

type settings struct {
	TriggersTable       string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable     string `env:"CONTAINERS_TABLE,required,notEmpty"`
	EventBus            string `env:"EVENT_BUS,required,notEmpty"`
	ScheduleGroup       string `env:"SCHEDULE_GROUP,required,notEmpty"`
	SchedulerRoleARN    string `env:"SCHEDULER_ROLE_ARN,required,notEmpty"`
	ScheduleDLQARN      string `env:"SCHEDULE_DLQ_ARN,required,notEmpty"`
	DispatchScheduleARN string `env:"DISPATCH_SCHEDULE_ARN,required,notEmpty"`
	ClaimsTable         string `env:"CLAIMS_TABLE,required,notEmpty"`
	KMSKeyID            string `env:"KMS_KEY_ID,required,notEmpty"`
	DispatchQueueARN    string `env:"DISPATCH_QUEUE_ARN,required,notEmpty"`
	DispatchQueueLong   string `env:"DISPATCH_QUEUE_LONG_ARN,required,notEmpty"`
	QueueConcurrency    int32  `env:"QUEUE_CONCURRENCY,required"`
	RelayARN            string `env:"RELAY_ARN,required,notEmpty"`
	RelayShards         int    `env:"RELAY_SHARDS,required"`
	Emulator            string `env:"AWS_ENDPOINT_URL"`
}

// A mapping is there within seconds, as a rule. Waiting for it here keeps the
// stream waiting; what takes longer is sweep's.
const (
	mappingPatience = 15 * time.Second
	mappingPause    = 500 * time.Millisecond
)

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	s := env.Must(env.ParseAs[settings]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	triggers := table.Triggers{Client: db, Table: s.TriggersTable}
	claims := table.Claims{Client: db, Table: s.ClaimsTable}
	functions := awslambda.NewFromConfig(cfg)
	onRelay := relayed{
		triggers: triggers, shards: s.RelayShards,
		starter: watchdog.Starter{Client: functions, Claims: claims, RelayARN: s.RelayARN, Now: time.Now},
	}
	home, err := queue.HomeOf(s.DispatchQueueARN, s.Emulator)
	if err != nil {
		panic(err) // Lambda tells it as the reason why the function did not start
	}
	lambda.Start(function{
		triggers:   triggers,
		containers: table.Containers{Client: db, Table: s.ContainersTable},
		provisioners: map[trigger.Source]provisioner{
			trigger.SourceCron: schedule.Schedules{
				Client: scheduler.NewFromConfig(cfg), Group: s.ScheduleGroup,
				TargetARN: s.DispatchScheduleARN, RoleARN: s.SchedulerRoleARN, DeadLetterARN: s.ScheduleDLQARN,
			},
			trigger.SourceSQS: queues{
				home:   home,
				sealer: seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: s.KMSKeyID},
				claims: claims,
				mappings: mapping.Mappings{
					Client: functions, ShortARN: s.DispatchQueueARN, LongARN: s.DispatchQueueLong,
					Concurrency: s.QueueConcurrency, Patience: mappingPatience, Pause: mappingPause,
				},
				triggers: triggers, relayed: onRelay, now: time.Now,
			},
			trigger.SourceNATS: onRelay,
		},
		bus: lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: s.EventBus},
		now: time.Now,
	}.handle)
}
