package guard_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/platform/awserr"
)

func TestGuard_DisablesMappingsInTheEmulatorAndShowsTheRequestedState(t *testing.T) {
	t.Parallel()
	_, cfg := guardtest.Start(t)
	env := mototest.Environment(t, "reconcile")
	guarded, emulator := lambda.NewFromConfig(cfg), lambda.NewFromConfig(mototest.Config(t))
	name := uuid.NewString()
	if _, err := sqs.NewFromConfig(cfg).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name}); err != nil {
		t.Fatal(err)
	}
	queue := "arn:aws:sqs:us-east-1:123456789012:" + name
	created, err := guarded.CreateEventSourceMapping(t.Context(), &lambda.CreateEventSourceMappingInput{
		EventSourceArn: &queue, FunctionName: aws.String(env["DISPATCH_QUEUE_ARN"]),
	})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(step, want string) {
		t.Helper()
		got, err := guarded.GetEventSourceMapping(t.Context(), &lambda.GetEventSourceMappingInput{UUID: created.UUID})
		if err != nil {
			t.Fatal(err)
		}
		listed, err := guarded.ListEventSourceMappings(t.Context(), &lambda.ListEventSourceMappingsInput{EventSourceArn: &queue})
		if err != nil || len(listed.EventSourceMappings) != 1 {
			t.Fatalf("got %v, %v", listed, err)
		}
		if *got.State != want || *listed.EventSourceMappings[0].State != want {
			t.Errorf("%s: shown as %s, listed as %s, want %s", step, *got.State, *listed.EventSourceMappings[0].State, want)
		}
		held, err := emulator.GetEventSourceMapping(t.Context(), &lambda.GetEventSourceMappingInput{UUID: created.UUID})
		if err != nil || *held.State != "Disabled" {
			t.Errorf("%s: it is %v in the emulator, %v", step, aws.ToString(held.State), err)
		}
	}
	change := func(enabled *bool) {
		t.Helper()
		_, err := guarded.UpdateEventSourceMapping(t.Context(), &lambda.UpdateEventSourceMappingInput{UUID: created.UUID, Enabled: enabled, BatchSize: aws.Int32(5)})
		if err != nil {
			t.Fatal(err)
		}
	}
	if *created.State != "Enabled" {
		t.Errorf("created: got %s", *created.State)
	}
	expect("created", "Enabled")
	change(aws.Bool(false))
	expect("disabled", "Disabled")
	change(nil)
	expect("changed", "Disabled")
	change(aws.Bool(true))
	expect("enabled", "Enabled")
}

func TestDeletedMapping_IsGoneForCallersThoughTheEmulatorKeepsIt(t *testing.T) {
	t.Parallel()
	g, cfg := guardtest.Start(t)
	g.KeepDeletedMappings()
	env := mototest.Environment(t, "reconcile")
	guarded, emulator := lambda.NewFromConfig(cfg), lambda.NewFromConfig(mototest.Config(t))
	name := uuid.NewString()
	if _, err := sqs.NewFromConfig(cfg).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name}); err != nil {
		t.Fatal(err)
	}
	queue := "arn:aws:sqs:us-east-1:123456789012:" + name
	create := func(batch int32) *lambda.CreateEventSourceMappingOutput {
		t.Helper()
		created, err := guarded.CreateEventSourceMapping(t.Context(), &lambda.CreateEventSourceMappingInput{
			EventSourceArn: &queue, FunctionName: aws.String(env["DISPATCH_QUEUE_ARN"]), BatchSize: &batch,
		})
		if err != nil {
			t.Fatal(err)
		}
		return created
	}
	listed := func(client *lambda.Client) int {
		t.Helper()
		page, err := client.ListEventSourceMappings(t.Context(), &lambda.ListEventSourceMappingsInput{EventSourceArn: &queue})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.EventSourceMappings)
	}
	first := create(7)
	deleted, err := guarded.DeleteEventSourceMapping(t.Context(), &lambda.DeleteEventSourceMappingInput{UUID: first.UUID})
	if err != nil || *deleted.State != "Deleting" {
		t.Fatalf("got %v, %v", deleted, err)
	}
	if callers, kept := listed(guarded), listed(emulator); callers != 0 || kept != 1 {
		t.Errorf("callers see %d mappings, the emulator %d", callers, kept)
	}
	if _, err := guarded.DeleteEventSourceMapping(t.Context(), &lambda.DeleteEventSourceMappingInput{UUID: first.UUID}); !awserr.NotFound(err) {
		t.Errorf("deleting again: %v", err)
	}
	if second := create(9); *second.State != "Enabled" || *second.BatchSize != 9 {
		t.Errorf("made again: got %s with batches of %d", *second.State, *second.BatchSize)
	}
	if callers, kept := listed(guarded), listed(emulator); callers != 1 || kept != 1 {
		t.Errorf("callers see %d mappings, the emulator %d", callers, kept)
	}
}
