// Package provision makes the sources of events match their triggers: schedules,
// mapped queues, and what the relay holds. reconcile applies and removes them;
// sweep looks for those that have drifted or were left behind. Nothing else
// touches them.
package provision

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"

	"containertriggers/shared/mapping"
	"containertriggers/shared/queue"
	"containertriggers/shared/schedule"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
	"containertriggers/shared/watchdog"
)

// Settings say where the sources and their targets are. A function embeds them in
// its own settings.
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

// A mapping is there within seconds, as a rule. Waiting for it keeps the stream
// waiting; what takes longer is sweep's.
const (
	mappingPatience = 15 * time.Second
	mappingPause    = 500 * time.Millisecond
)

// Sources are all kinds of sources.
type Sources struct {
	Schedules schedule.Schedules
	Queues    Queues
	Relayed   Relayed
}

// New makes the sources of the settings. The sealer opens the secrets of triggers;
// only applying queues wants it. An error is a setting's.
func New(s Settings, cfg aws.Config, db *dynamodb.Client, sealer seal.Sealer) (Sources, error) {
	home, err := queue.HomeOf(s.DispatchQueueARN, s.Emulator)
	if err != nil {
		return Sources{}, fmt.Errorf("reading DISPATCH_QUEUE_ARN: %w", err)
	}
	triggers, claims := table.Triggers{Client: db, Table: s.TriggersTable}, table.Claims{Client: db, Table: s.ClaimsTable}
	functions := lambda.NewFromConfig(cfg)
	relayed := Relayed{
		Triggers: triggers, Shards: s.RelayShards,
		Starter: watchdog.Starter{Client: functions, Claims: claims, RelayARN: s.RelayARN, Now: time.Now},
	}
	return Sources{
		Schedules: schedule.Schedules{
			Client: scheduler.NewFromConfig(cfg), Group: s.ScheduleGroup,
			TargetARN: s.DispatchScheduleARN, RoleARN: s.SchedulerRoleARN, DeadLetterARN: s.ScheduleDLQARN,
		},
		Queues: Queues{
			Home: home, Sealer: sealer, Claims: claims,
			Mappings: mapping.Mappings{
				Client: functions, ShortARN: s.DispatchQueueARN, LongARN: s.DispatchQueueLong,
				Concurrency: s.QueueConcurrency, Patience: mappingPatience, Pause: mappingPause,
			},
			Triggers: triggers, Relayed: relayed, Now: time.Now,
		},
		Relayed: relayed,
	}, nil
}
