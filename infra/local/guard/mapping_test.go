package guard_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/platform/awserr"
)

func TestGuard_RefusesMappingsThatLambdaRefuses(t *testing.T) {
	t.Parallel()
	_, cfg := guardtest.Start(t)
	env := mototest.Environment(t, "reconcile")
	client := lambda.NewFromConfig(cfg)
	queue := func(attributes map[string]string) *string {
		name := uuid.NewString()
		if attributes["FifoQueue"] == "true" {
			name += ".fifo"
		}
		if _, err := sqs.NewFromConfig(cfg).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes}); err != nil {
			t.Fatal(err)
		}
		return aws.String("arn:aws:sqs:us-east-1:123456789012:" + name)
	}
	short := aws.String(env["DISPATCH_QUEUE_ARN"])
	concurrency := func(n int32) *types.ScalingConfig { return &types.ScalingConfig{MaximumConcurrency: &n} }

	mapped := queue(nil)
	created, err := client.CreateEventSourceMapping(t.Context(), &lambda.CreateEventSourceMappingInput{
		EventSourceArn: mapped, FunctionName: short, BatchSize: aws.Int32(100), MaximumBatchingWindowInSeconds: aws.Int32(1), ScalingConfig: concurrency(2),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		input *lambda.CreateEventSourceMappingInput
		words string
	}{
		"a second one":               {&lambda.CreateEventSourceMappingInput{EventSourceArn: mapped, FunctionName: short}, "already exists. Please update or delete the existing mapping with UUID " + *created.UUID},
		"a second one, by name":      {&lambda.CreateEventSourceMappingInput{EventSourceArn: mapped, FunctionName: aws.String((*short)[strings.LastIndex(*short, ":")+1:])}, "already exists"},
		"a short visibility timeout": {&lambda.CreateEventSourceMappingInput{EventSourceArn: queue(map[string]string{"VisibilityTimeout": "29"}), FunctionName: short}, "Queue visibility timeout: 29 seconds is less than Function timeout: 30 seconds"},
		"a queue that is not there":  {&lambda.CreateEventSourceMappingInput{EventSourceArn: aws.String("arn:aws:sqs:us-east-1:123456789012:none"), FunctionName: short}, "does not exist"},
		"a large batch at once":      {&lambda.CreateEventSourceMappingInput{EventSourceArn: queue(nil), FunctionName: short, BatchSize: aws.Int32(11)}, "Maximum batch window"},
		"a large batch in order":     {&lambda.CreateEventSourceMappingInput{EventSourceArn: queue(map[string]string{"FifoQueue": "true"}), FunctionName: short, BatchSize: aws.Int32(11)}, "FIFO"},
		"a window in order":          {&lambda.CreateEventSourceMappingInput{EventSourceArn: queue(map[string]string{"FifoQueue": "true"}), FunctionName: short, MaximumBatchingWindowInSeconds: aws.Int32(1)}, "FIFO"},
		"too little concurrency":     {&lambda.CreateEventSourceMappingInput{EventSourceArn: queue(nil), FunctionName: short, ScalingConfig: concurrency(1)}, "maximumConcurrency"},
	} {
		_, err := client.CreateEventSourceMapping(t.Context(), test.input)
		if err == nil || !strings.Contains(err.Error(), test.words) || awserr.Transient(err) || awserr.AlreadyExists(err) != strings.HasPrefix(name, "a second") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, change := range map[string]*lambda.UpdateEventSourceMappingInput{
		"too much concurrency": {UUID: created.UUID, ScalingConfig: concurrency(1001)},
		"a longer function":    {UUID: created.UUID, FunctionName: aws.String(env["DISPATCH_QUEUE_LONG_ARN"])},
	} {
		if _, err := client.UpdateEventSourceMapping(t.Context(), change); err == nil || awserr.Transient(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := client.UpdateEventSourceMapping(t.Context(), &lambda.UpdateEventSourceMappingInput{UUID: created.UUID, Enabled: aws.Bool(false)}); err != nil {
		t.Error(err)
	}
}
