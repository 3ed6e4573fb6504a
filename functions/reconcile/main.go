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
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/caarlos0/env/v11"

	"containertriggers/shared/awsconfig"
	"containertriggers/shared/lifecycle"
	"containertriggers/shared/schedule"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

type settings struct {
	TriggersTable       string `env:"TRIGGERS_TABLE,required,notEmpty"`
	ContainersTable     string `env:"CONTAINERS_TABLE,required,notEmpty"`
	EventBus            string `env:"EVENT_BUS,required,notEmpty"`
	ScheduleGroup       string `env:"SCHEDULE_GROUP,required,notEmpty"`
	SchedulerRoleARN    string `env:"SCHEDULER_ROLE_ARN,required,notEmpty"`
	ScheduleDLQARN      string `env:"SCHEDULE_DLQ_ARN,required,notEmpty"`
	DispatchScheduleARN string `env:"DISPATCH_SCHEDULE_ARN,required,notEmpty"`
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	s := env.Must(env.ParseAs[settings]())
	cfg := awsconfig.FromEnvironment()
	db := dynamodb.NewFromConfig(cfg)
	lambda.Start(function{
		triggers:   table.Triggers{Client: db, Table: s.TriggersTable},
		containers: table.Containers{Client: db, Table: s.ContainersTable},
		provisioners: map[trigger.Source]provisioner{
			trigger.SourceCron: schedule.Schedules{
				Client: scheduler.NewFromConfig(cfg), Group: s.ScheduleGroup,
				TargetARN: s.DispatchScheduleARN, RoleARN: s.SchedulerRoleARN, DeadLetterARN: s.ScheduleDLQARN,
			},
		},
		bus: lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: s.EventBus},
		now: time.Now,
	}.handle)
}
