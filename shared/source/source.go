// Package source makes sources match their triggers: EventBridge schedules, mapped
// queues, and the relay's subscriptions. Only reconcile applies and removes sources. Only
// sweep looks for drift and orphans.
package source

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	schedulerapi "github.com/aws/aws-sdk-go-v2/service/scheduler"

	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/queue"
	"containertriggers/shared/aws/scheduler"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/relay/watchdog"
)

// Settings locate the sources and their targets. A function embeds them in its own
// settings.
type Settings struct {
	TriggersTable       string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ClaimsTable         string `env:"CLAIMS_TABLE,required,notEmpty"`
	ScheduleGroup       string `env:"SCHEDULE_GROUP,required,notEmpty"`
	SchedulerRoleARN    string `env:"SCHEDULER_ROLE_ARN,required,notEmpty"`
	ScheduleDLQARN      string `env:"SCHEDULE_DLQ_ARN,required,notEmpty"`
	DispatchScheduleARN string `env:"DISPATCH_SCHEDULE_ARN,required,notEmpty"`
	DispatchQueueARN    string `env:"DISPATCH_QUEUE_ARN,required,notEmpty"`
	DispatchQueueLong   string `env:"DISPATCH_QUEUE_LONG_ARN,required,notEmpty"`
	QueueConcurrency    int32  `env:"QUEUE_CONCURRENCY,required"`
	RelayARN            string `env:"RELAY_ARN,required,notEmpty"`
	RelayShards         int    `env:"RELAY_SHARDS,required"`
	Emulator            string `env:"AWS_ENDPOINT_URL"`
}

// Sources has one field for each way to receive a source's events.
type Sources struct {
	Schedules scheduler.Schedules
	Queues    Queues
	Relay     Relay
}

// New returns the sources for the settings. Only Queues.Apply uses the sealer, to open the
// secrets of triggers. Requests about mappings keep the pace. New returns an error if a
// setting is malformed.
func New(s Settings, cfg aws.Config, db *dynamodb.Client, sealer seal.Sealer, pace *eventsource.Pace) (Sources, error) {
	home, err := queue.HomeOf(s.DispatchQueueARN, s.Emulator)
	if err != nil {
		return Sources{}, fmt.Errorf("reading DISPATCH_QUEUE_ARN: %w", err)
	}
	triggers, claims := store.Triggers{Client: db, Table: s.TriggersTable}, store.Claims{Client: db, Table: s.ClaimsTable}
	relay := Relay{
		Triggers: triggers, Shards: s.RelayShards,
		Starter: watchdog.Starter{Client: lambda.NewFromConfig(cfg), Leases: store.Leases{Client: db, Table: s.ClaimsTable}, RelayARN: s.RelayARN, Now: time.Now},
	}
	return Sources{
		Schedules: scheduler.Schedules{
			Client: schedulerapi.NewFromConfig(cfg), Group: s.ScheduleGroup,
			TargetARN: s.DispatchScheduleARN, RoleARN: s.SchedulerRoleARN, DeadLetterARN: s.ScheduleDLQARN,
			Now: time.Now,
		},
		Queues: Queues{
			Home: home, Sealer: sealer, Claims: claims,
			Mappings: eventsource.Mappings{
				Client: lambda.NewFromConfig(pace.Apply(cfg)), ShortARN: s.DispatchQueueARN, LongARN: s.DispatchQueueLong,
				Concurrency: s.QueueConcurrency,
			},
			Triggers: triggers, Relay: relay, Now: time.Now,
		},
		Relay: relay,
	}, nil
}
