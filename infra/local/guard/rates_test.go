package guard_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard"
	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
)

func TestGuard_LimitsLambdasControlPlaneAsAWhole(t *testing.T) {
	t.Parallel()
	_, cfg := guardtest.Start(t)
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	client, ours := lambda.NewFromConfig(cfg), lambda.NewFromConfig(guard.Uncounted(cfg))
	function := mototest.Environment(t, "reconcile")["DISPATCH_QUEUE_ARN"]
	list := func(client *lambda.Client) error {
		_, err := client.ListEventSourceMappings(t.Context(), &lambda.ListEventSourceMappingsInput{})
		return err
	}
	describe := func() error {
		_, err := client.GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &function})
		return err
	}
	operations := []func() error{func() error { return list(client) }, describe}
	throttled := func(err error) bool {
		_, yes := errors.AsType[*types.TooManyRequestsException](err)
		return yes
	}
	accepted := 0
	for ; accepted < 1000; accepted++ {
		if err := operations[accepted%2](); throttled(err) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	// The bucket holds 15, and some come in while the test uses it up.
	if accepted < 15 || accepted > 150 {
		t.Errorf("%d requests were accepted at once", accepted)
	}
	if err := list(ours); err != nil {
		t.Errorf("a request that does not count: %v", err)
	}
	if _, err := client.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: &function}); throttled(err) {
		t.Error("GetFunction has a rate of its own, and was refused")
	}
}

func TestGuard_LimitsEachOperationOfScheduler(t *testing.T) {
	t.Parallel()
	_, cfg := guardtest.Start(t)
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	client := scheduler.NewFromConfig(cfg)
	results := make(chan error)
	const calls = 400
	for range calls {
		go func() {
			_, err := client.ListSchedules(t.Context(), &scheduler.ListSchedulesInput{NamePrefix: aws.String(uuid.NewString())})
			results <- err
		}()
	}
	refused := 0
	for range calls {
		if _, yes := errors.AsType[*schedulertypes.ThrottlingException](<-results); yes {
			refused++
		}
	}
	if refused == 0 {
		t.Errorf("%d lists at once were accepted", calls)
	}
	if _, err := client.GetSchedule(t.Context(), &scheduler.GetScheduleInput{Name: aws.String(uuid.NewString())}); err == nil {
		t.Error("there is no such schedule")
	} else if _, yes := errors.AsType[*schedulertypes.ThrottlingException](err); yes {
		t.Error("GetSchedule has a rate of its own, and was refused")
	}
}
