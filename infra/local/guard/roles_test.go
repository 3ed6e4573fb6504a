package guard_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/infra/local/role"
	"containertriggers/shared/platform/awserr"
)

func TestGuard_AllowsAFunctionOnlyTheActionsOfItsRole(t *testing.T) {
	t.Parallel()
	before, cfg := guardtest.Start(t)
	of, err := role.New(json.RawMessage(`{"Statement":[{"Effect":"Allow","Action":"sqs:GetQueueUrl","Resource":"*"},
		{"Effect":"Allow","Action":"sqs:*","Resource":"arn:aws:sqs:us-east-1:123456789012:mine-*"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	dispatcher := mototest.Environment(t, "reconcile")["DISPATCH_QUEUE_ARN"]
	name := dispatcher[strings.LastIndex(dispatcher, ":")+1:]
	before.SetRoles(role.Place{Region: "us-east-1", Account: "123456789012"}, map[string]role.Role{name: of})

	everybody := sqs.NewFromConfig(cfg)
	function := cfg.Copy()
	function.Credentials = credentials.NewStaticCredentialsProvider("local", "local", name)
	_, err = lambda.NewFromConfig(function).DeleteEventSourceMapping(t.Context(), &lambda.DeleteEventSourceMappingInput{UUID: aws.String(uuid.NewString())})
	if err == nil || !strings.Contains(err.Error(), "ResourceNotFoundException") {
		t.Errorf("deleting a mapping that is gone: %v", err)
	}
	mine, others := "mine-"+uuid.NewString(), uuid.NewString()
	for queue, allowed := range map[string]bool{mine: true, others: false} {
		created, err := everybody.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &queue})
		if err != nil {
			t.Fatal(err)
		}
		send := &sqs.SendMessageInput{QueueUrl: created.QueueUrl, MessageBody: aws.String("m")}
		if _, err := everybody.SendMessage(t.Context(), send); err != nil {
			t.Errorf("whoever is no function: %v", err)
		}
		_, err = sqs.NewFromConfig(function).SendMessage(t.Context(), send)
		if allowed != (err == nil) || err != nil && (!strings.Contains(err.Error(), "AccessDenied") || !strings.Contains(err.Error(), "sqs:SendMessage") || awserr.Transient(err)) {
			t.Errorf("the function, to %s: %v", queue, err)
		}
		_, err = lambda.NewFromConfig(cfg).CreateEventSourceMapping(t.Context(), &lambda.CreateEventSourceMappingInput{
			EventSourceArn: aws.String("arn:aws:sqs:us-east-1:123456789012:" + queue), FunctionName: &dispatcher, BatchSize: aws.Int32(10),
		})
		if allowed != (err == nil) || err != nil && !strings.Contains(err.Error(), "does not have permissions to call ReceiveMessage on SQS") {
			t.Errorf("a mapping of %s: %v", queue, err)
		}
	}
}
