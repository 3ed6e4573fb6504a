package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"
)

// queue is a queue of the local cloud's account, and a user's key that may look
// at it.
type queue struct {
	b                    *testBundle
	client               *sqs.Client
	url, arn, endpoint   string
	accessKey, secretKey string
}

// createQueue makes a queue with attributes, and a key for it.
func (b *testBundle) createQueue(attributes map[string]string) *queue {
	b.t.Helper()
	name := "q-" + uuid.NewString()
	if attributes["FifoQueue"] == "true" {
		name += ".fifo"
	}
	q := &queue{b: b, client: sqs.NewFromConfig(b.AWSConfig()), endpoint: b.AWSEndpoint(), arn: "arn:aws:sqs:us-east-1:" + b.Account() + ":" + name}
	created, err := q.client.CreateQueue(b.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		b.t.Fatal(err)
	}
	q.url = *created.QueueUrl
	b.t.Cleanup(func() {
		if _, err := q.client.DeleteQueue(context.Background(), &sqs.DeleteQueueInput{QueueUrl: &q.url}); err != nil && !strings.Contains(err.Error(), "NonExistentQueue") {
			b.t.Error(err)
		}
	})
	q.accessKey, q.secretKey = b.createUser(q.arn, toShow...)
	return q
}

// toShow is what a key must be able to do for its queue to be read.
var toShow = []string{"sqs:GetQueueAttributes", "sqs:DeleteMessage"}

// createUser makes an IAM user who may do that with a queue, and no more, and gives
// his key.
func (b *testBundle) createUser(queueARN string, actions ...string) (accessKey, secretKey string) {
	b.t.Helper()
	users, name := iam.NewFromConfig(b.AWSConfig()), "user-"+uuid.NewString()
	if _, err := users.CreateUser(b.t.Context(), &iam.CreateUserInput{UserName: &name}); err != nil {
		b.t.Fatal(err)
	}
	_, err := users.PutUserPolicy(b.t.Context(), &iam.PutUserPolicyInput{
		UserName: &name, PolicyName: aws.String("look"), PolicyDocument: aws.String(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["` + strings.Join(actions, `","`) + `"],"Resource":"` + queueARN + `"}]}`),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	key, err := users.CreateAccessKey(b.t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		b.t.Fatal(err)
	}
	return *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey
}

// config is the SQS config of a trigger on the queue.
func (q *queue) config() *container.CreateTriggerRequestSQSConfig {
	return &container.CreateTriggerRequestSQSConfig{
		Endpoint: q.endpoint, QueueURL: q.url, AccessKeyID: q.accessKey, SecretAccessKey: q.secretKey,
	}
}

// createSQS creates an SQS trigger with the SDK.
func (b *testBundle) createSQS(name string, config *container.CreateTriggerRequestSQSConfig) *container.Trigger {
	b.t.Helper()
	created, err := b.api.CreateTrigger(&container.CreateTriggerRequest{ContainerID: b.containerID, Name: name, SqsConfig: config})
	if err != nil {
		b.t.Fatal(err)
	}
	return created
}

// expectReady waits for a trigger to be ready.
func (b *testBundle) expectReady(id string) {
	b.t.Helper()
	if settled := b.wait(id); settled.Status != container.TriggerStatusReady {
		b.t.Fatalf("the trigger is %s: %s", settled.Status, *settled.ErrorMessage)
	}
}

// send sends a message of that body.
func (q *queue) send(body string, attributes map[string]sqstypes.MessageAttributeValue) (messageID string) {
	q.b.t.Helper()
	input := &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &body, MessageAttributes: attributes}
	sent, err := q.client.SendMessage(q.b.t.Context(), input)
	if err != nil {
		q.b.t.Fatal(err)
	}
	return *sent.MessageId
}

func TestSQSTrigger_DeliversTheMessagesOfAQueue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	q := b.createQueue(nil)
	id := b.createSQS("orders", q.config()).ID
	b.expectReady(id)

	messageID := q.send(`{"order":1}`, map[string]sqstypes.MessageAttributeValue{
		"Kind":  {DataType: aws.String("String"), StringValue: aws.String("new")},
		"Count": {DataType: aws.String("Number"), StringValue: aws.String("7")},
		"Raw":   {DataType: aws.String("Binary"), BinaryValue: []byte{0, 255}},
	})
	c := b.nextCall()
	for name, want := range map[string]string{
		"Kind": "new", "Count": "7", "Raw": "AP8=", "Content-Type": "application/json", "Ce-Id": messageID,
		"Ce-Type": "containertriggers.sqs", "Ce-Source": regional + "/triggers/" + id,
	} {
		if got := c.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if c.method != "POST" || c.uri != "/" || c.body != `{"order":1}` {
		t.Errorf("got %s %s %q", c.method, c.uri, c.body)
	}
	b.eventually("the message is deleted", func() bool { return q.messages() == 0 })
}

// messages counts the queue's messages, whether they are hidden or not.
func (q *queue) messages() (total int) {
	q.b.t.Helper()
	answer, err := q.client.GetQueueAttributes(q.b.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &q.url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
	if err != nil {
		q.b.t.Fatal(err)
	}
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
		var n int
		if _, err := fmt.Sscan(answer.Attributes[name], &n); err != nil {
			q.b.t.Fatal(err)
		}
		total += n
	}
	return total
}
