package scheduler_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsscheduler "github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/infra/local/scheduler"
)

func TestScheduler_FiresNoScheduleOfAnotherCloudOnTheEmulator(t *testing.T) {
	t.Parallel()
	client := awsscheduler.NewFromConfig(mototest.Config(t))
	prefix := "arn:aws:lambda:us-east-1:123456789012:function:" + uuid.NewString()
	for _, name := range []string{"own", "other"} {
		_, err := client.CreateSchedule(t.Context(), &awsscheduler.CreateScheduleInput{
			Name: aws.String(name + "-" + uuid.NewString()), ScheduleExpression: aws.String("cron(* * * * ? *)"),
			FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
			Target:             &types.Target{Arn: aws.String(prefix + name), RoleArn: aws.String("arn:aws:iam::123456789012:role/r")},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	invoked := make(chan string, 1000)
	s := scheduler.Scheduler{
		Client: client,
		Invoke: func(arn string, _ []byte) error {
			invoked <- arn
			return nil
		},
		Serves:     func(arn string) bool { return arn == prefix+"own" },
		DeadLetter: func(context.Context, string, string) error { return nil },
		Now: func() time.Time { // each look is a minute after the last one
			now = now.Add(time.Minute)
			return now
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	// Within one look, schedules fire in any order: the second call shows that the
	// first look is over.
	for own := 0; own < 2; {
		select {
		case arn := <-invoked:
			if strings.HasSuffix(arn, "other") {
				t.Fatalf("%s is invoked", arn)
			}
			own++
		case <-time.After(time.Minute):
			t.Fatal("nothing is invoked")
		}
	}
}
