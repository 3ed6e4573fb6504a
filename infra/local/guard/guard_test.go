package guard_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/shared/platform/awserr"
)

func TestGuard_RefusesSchedulesThatAWSRefuses(t *testing.T) {
	t.Parallel()
	_, cfg := guardtest.Start(t)
	client := scheduler.NewFromConfig(cfg)
	create := func(name, expression, timezone string) error {
		_, err := client.CreateSchedule(t.Context(), &scheduler.CreateScheduleInput{
			Name: &name, ScheduleExpression: &expression, ScheduleExpressionTimezone: &timezone,
			FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
			Target:             &types.Target{Arn: aws.String("arn:aws:lambda:us-east-1:123456789012:function:f"), RoleArn: aws.String("arn:aws:iam::123456789012:role/r")},
		})
		return err
	}
	for _, expression := range []string{
		"cron(0 0 1 * ? *)", "cron(0 0 ? * 2 *)", "cron(0 0 ? * MON-FRI *)", "cron(0/15 * * * ? *)", "cron(0 0 L * ? *)",
		"cron(0 0 ? * 6L *)", "cron(0 0 ? * 2#1 2027)", "rate(1 minute)", "rate(5 minutes)", "at(2027-01-01T00:00:00)",
	} {
		if err := create(uuid.NewString(), expression, "Europe/Paris"); err != nil {
			t.Errorf("%s: %v", expression, err)
		}
	}
	for _, expression := range []string{
		"", "* * * * *", "cron(0 0 1 * *)", "cron(0 0 1 * 2 *)", "cron(0 0 * * * *)", "cron(0 0 ? * ? *)", "cron(60 0 1 * ? *)",
		"cron(0 24 1 * ? *)", "cron(0 0 32 * ? *)", "cron(0 0 1 13 ? *)", "cron(0 0 ? * 0 *)", "cron(0 0 ? * 8 *)", "cron(5,75 0 1 * ? *)",
		"cron(? 0 1 * ? *)", "cron(0 0 1 * ? 1969)", "cron(0 0 1 * ? * *)", "cron(x 0 1 * ? *)", "rate(1 minutes)", "rate(5 minute)",
		"rate(0 minutes)", "rate(5 seconds)", "at(tomorrow)", "cron(" + strings.Repeat("0,", 200) + "0 0 1 * ? *)",
	} {
		err := create(uuid.NewString(), expression, "UTC")
		if err == nil || !strings.Contains(err.Error(), "ValidationException") || awserr.Transient(err) {
			t.Errorf("%.40s: got %v", expression, err)
		}
	}
	for name, timezone := range map[string]string{uuid.NewString(): "Europe/Atlantis", "factory": "Factory", "a b": "UTC", strings.Repeat("n", 65): "UTC"} {
		if err := create(name, "cron(0 0 1 * ? *)", timezone); err == nil || awserr.Transient(err) {
			t.Errorf("%s in %s: got %v", name, timezone, err)
		}
	}
	if err := create("taken", "rate(1 minute)", ""); err != nil {
		t.Fatal(err)
	}
	if err := create("taken", "rate(1 minute)", ""); !awserr.AlreadyExists(err) {
		t.Errorf("got %v", err)
	}
}
