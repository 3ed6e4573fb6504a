package guard_test

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard"
	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/platform/awserr"
)

func TestMapping_EachChangeLastsAndLambdaRefusesOthersMeanwhile(t *testing.T) {
	t.Parallel()
	g, cfg := guardtest.Start(t)
	client := lambda.NewFromConfig(guard.Uncounted(cfg))
	name := uuid.NewString()
	if _, err := sqs.NewFromConfig(cfg).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name}); err != nil {
		t.Fatal(err)
	}
	queue, function := "arn:aws:sqs:us-east-1:123456789012:"+name, mototest.Environment(t, "reconcile")["DISPATCH_QUEUE_ARN"]
	create := func() (*lambda.CreateEventSourceMappingOutput, error) {
		return client.CreateEventSourceMapping(t.Context(), &lambda.CreateEventSourceMappingInput{EventSourceArn: &queue, FunctionName: &function})
	}
	update := func(uuid *string, enabled *bool) error {
		_, err := client.UpdateEventSourceMapping(t.Context(), &lambda.UpdateEventSourceMappingInput{UUID: uuid, Enabled: enabled, BatchSize: aws.Int32(5)})
		return err
	}
	remove := func(uuid *string) error {
		_, err := client.DeleteEventSourceMapping(t.Context(), &lambda.DeleteEventSourceMappingInput{UUID: uuid})
		return err
	}
	// listed is the state in the list, "" if the mapping is not there. Get must say the same.
	listed := func(uuid *string) string {
		t.Helper()
		page, err := client.ListEventSourceMappings(t.Context(), &lambda.ListEventSourceMappingsInput{EventSourceArn: &queue, FunctionName: &function})
		if err != nil {
			t.Fatal(err)
		}
		state := ""
		for _, mapping := range page.EventSourceMappings {
			state = *mapping.State
		}
		if got, err := client.GetEventSourceMapping(t.Context(), &lambda.GetEventSourceMappingInput{UUID: uuid}); state != "" && (err != nil || *got.State != state) {
			t.Errorf("listed as %s, got %v, %v", state, got, err)
		}
		return state
	}
	// lasts expects the mapping in a state in which Lambda refuses changes, and then in
	// another.
	lasts := func(uuid *string, state, then string) {
		t.Helper()
		if got := listed(uuid); got != state {
			t.Errorf("it is %q, want %q", got, state)
		}
		for change, err := range map[string]error{"updating": update(uuid, nil), "deleting": remove(uuid)} {
			if _, busy := errors.AsType[*types.ResourceInUseException](err); !busy {
				t.Errorf("%s while it is %s: %v", change, state, err)
			}
		}
		polls := map[string]bool{"Enabled": true, "Updating": true, "Disabling": true, "Deleting": true}
		if got := g.Polls(*uuid); got != polls[state] {
			t.Errorf("while it is %s, it is polled: %v", state, got)
		}
		// The change now ends at once.
		g.EndChanges()
		if got := listed(uuid); got != then || g.Polls(*uuid) != polls[then] {
			t.Errorf("after %s it is %q and polled: %v, want %q", state, got, g.Polls(*uuid), then)
		}
	}

	g.SetMappingTime(time.Hour)
	created, err := create()
	if err != nil || *created.State != "Creating" {
		t.Fatalf("got %v, %v", created, err)
	}
	lasts(created.UUID, "Creating", "Enabled")
	for _, step := range []struct {
		enabled     *bool
		state, then string
	}{
		{nil, "Updating", "Enabled"},
		{aws.Bool(false), "Disabling", "Disabled"},
		{aws.Bool(true), "Enabling", "Enabled"},
	} {
		if err := update(created.UUID, step.enabled); err != nil {
			t.Fatal(err)
		}
		lasts(created.UUID, step.state, step.then)
	}
	if err := remove(created.UUID); err != nil {
		t.Fatal(err)
	}
	if _, err := create(); !awserr.AlreadyExists(err) {
		t.Errorf("creating it while it is being deleted: %v", err)
	}
	lasts(created.UUID, "Deleting", "")
	if _, err := create(); err != nil {
		t.Errorf("creating it after it is deleted: %v", err)
	}
}

func TestMapping_ShowsItsLastProcessingResult(t *testing.T) {
	t.Parallel()
	g, cfg := guardtest.Start(t)
	client := lambda.NewFromConfig(cfg)
	name := uuid.NewString()
	if _, err := sqs.NewFromConfig(cfg).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name}); err != nil {
		t.Fatal(err)
	}
	created, err := client.CreateEventSourceMapping(t.Context(), &lambda.CreateEventSourceMappingInput{
		EventSourceArn: aws.String("arn:aws:sqs:us-east-1:123456789012:" + name),
		FunctionName:   aws.String(mototest.Environment(t, "reconcile")["DISPATCH_QUEUE_ARN"]),
	})
	if err != nil {
		t.Fatal(err)
	}
	g.SetProcessingResult(*created.UUID, "PROBLEM: made up")
	got, err := client.GetEventSourceMapping(t.Context(), &lambda.GetEventSourceMappingInput{UUID: created.UUID})
	if err != nil || aws.ToString(got.LastProcessingResult) != "PROBLEM: made up" {
		t.Errorf("got %v, %v", got, err)
	}
}
