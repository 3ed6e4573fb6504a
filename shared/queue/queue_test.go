package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/awserr"
	"containertriggers/shared/trigger"
)

// create makes a queue on moto and gives the home that it is in and the config of
// a trigger on it.
func create(t *testing.T, name string, attributes map[string]string) (*sqs.Client, Home, trigger.SQS) {
	t.Helper()
	cfg := mototest.Config(t)
	client := sqs.NewFromConfig(cfg)
	created, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	home, err := HomeOf("arn:aws:lambda:us-east-1:123456789012:function:f", *cfg.BaseEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	return client, home, trigger.SQS{Endpoint: *cfg.BaseEndpoint, QueueURL: *created.QueueUrl, AccessKeyID: "local"}
}

func TestAQueueIsDescribed(t *testing.T) {
	t.Parallel()
	dead, name := uuid.NewString(), uuid.NewString()+".fifo"
	create(t, dead+".fifo", map[string]string{"FifoQueue": "true"})
	_, home, config := create(t, name, map[string]string{
		"FifoQueue": "true", "VisibilityTimeout": "45",
		"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:` + dead + `.fifo","maxReceiveCount":"7"}`,
	})
	got, err := home.Describe(t.Context(), config, "local")
	want := Queue{ARN: "arn:aws:sqs:us-east-1:123456789012:" + name, URL: config.QueueURL, VisibilityTimeout: 45 * time.Second, MaxReceives: 7, FIFO: true}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}

	_, home, config = create(t, uuid.NewString(), nil)
	got, err = home.Describe(t.Context(), config, "local")
	if err != nil || got.FIFO || got.MaxReceives != 0 || got.VisibilityTimeout != 30*time.Second {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAQueueOfAnotherAccountOrRegionIsElsewhere(t *testing.T) {
	t.Parallel()
	_, home, config := create(t, uuid.NewString(), nil)
	for _, other := range []Home{
		{Region: home.Region, Account: "210987654321", Emulator: home.Emulator},
		{Region: "eu-west-3", Account: home.Account, Emulator: home.Emulator},
	} {
		// The signature's region is the home's, which moto goes by; so the queue of
		// the other region is one that it does not find there.
		_, err := other.Describe(t.Context(), config, "local")
		if _, ok := errors.AsType[*Problem](err); !ok || other.Region == home.Region && !errors.Is(err, ErrElsewhere) {
			t.Errorf("%+v: got %v", other, err)
		}
	}
}

func TestAnEndpointThatAnswersForAnotherQueueIsRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		fmt.Fprint(w, `{"Attributes":{"QueueArn":"arn:aws:sqs:us-east-1:123456789012:other","VisibilityTimeout":"30"}}`)
	}))
	t.Cleanup(server.Close)
	home := Home{Region: "us-east-1", Account: "123456789012", Emulator: server.URL}
	_, err := home.Describe(t.Context(), trigger.SQS{Endpoint: server.URL, QueueURL: server.URL + "/123456789012/mine"}, "s")
	if _, ok := errors.AsType[*Problem](err); !ok || !strings.Contains(err.Error(), "another queue") {
		t.Errorf("got %v", err)
	}
}

func TestNothingIsAskedAtAForeignEndpoint(t *testing.T) {
	t.Parallel()
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(server.Close)
	home := Home{Region: "us-east-1", Account: "123456789012"}
	_, err := home.Describe(t.Context(), trigger.SQS{Endpoint: server.URL, QueueURL: server.URL + "/123456789012/q"}, "s")
	if !errors.Is(err, ErrElsewhere) || asked {
		t.Errorf("got %v, asked: %t", err, asked)
	}
}

func TestRefusalsAreExplainedAndFaultsComeAgain(t *testing.T) {
	t.Parallel()
	config := trigger.SQS{QueueURL: "https://sqs.eu-west-3.amazonaws.com/123456789012/orders", AccessKeyID: "AKIA"}
	for code, test := range map[string]struct{ message, words string }{
		"AWS.SimpleQueueService.NonExistentQueue": {"", `no queue "orders" in the region`},
		"QueueDoesNotExist":                       {"", `no queue "orders"`},
		"InvalidClientTokenId":                    {"", "does not know sqs_config.access_key_id"},
		"UnrecognizedClientException":             {"", "does not know sqs_config.access_key_id"},
		"SignatureDoesNotMatch":                   {"", "secret_access_key does not belong"},
		"InvalidSignatureException":               {"Credential should be scoped to a valid region.", "not of the queue's AWS region"},
		"AccessDenied":                            {"", "sqs:GetQueueAttributes"},
		"InvalidAddress":                          {"", "not the URL of a queue"},
		"OptInRequired":                           {"You are not subscribed to this service", "not subscribed"},
	} {
		err := Explain(&smithy.GenericAPIError{Code: code, Message: test.message}, config, "sqs:GetQueueAttributes")
		if problem, ok := errors.AsType[*Problem](err); !ok || !strings.Contains(problem.Message, test.words) {
			t.Errorf("%s: got %v", code, err)
		}
	}
	for _, err := range []error{
		&smithy.GenericAPIError{Code: "RequestThrottled", Message: "slow down"}, &smithy.GenericAPIError{Code: "ThrottlingException"},
		context.DeadlineExceeded,
	} {
		explained := Explain(err, config, "sqs:GetQueueAttributes")
		if _, ok := errors.AsType[*Problem](explained); ok || !awserr.Transient(explained) {
			t.Errorf("%v: got %v", err, explained)
		}
	}
}

func TestMessagesAreHiddenAndDeletedInBatches(t *testing.T) {
	t.Parallel()
	client, _, config := create(t, uuid.NewString(), nil)
	const count = 25
	for i := range count {
		if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &config.QueueURL, MessageBody: aws.String(strconv.Itoa(i))}); err != nil {
			t.Fatal(err)
		}
	}
	receive := func() (messages []types.Message) {
		for {
			page, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &config.QueueURL, MaxNumberOfMessages: 10, VisibilityTimeout: 600})
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Messages) == 0 {
				return messages
			}
			messages = append(messages, page.Messages...)
		}
	}
	received := receive()
	if len(received) != count {
		t.Fatalf("got %d messages", len(received))
	}
	m := Messages{Client: client, URL: config.QueueURL}
	var hidden []Hidden
	var receipts []string
	for i, message := range received {
		if i < 12 {
			hidden = append(hidden, Hidden{Receipt: *message.ReceiptHandle})
		} else {
			receipts = append(receipts, *message.ReceiptHandle)
		}
	}
	if err := errors.Join(m.Hide(t.Context(), hidden), m.Delete(t.Context(), receipts)); err != nil {
		t.Fatal(err)
	}
	if got := len(receive()); got != 12 {
		t.Errorf("%d messages came back, want the 12 that were not hidden any more", got)
	}
	// What is gone meanwhile is fine.
	if err := errors.Join(m.Delete(t.Context(), receipts), m.Hide(t.Context(), []Hidden{{Receipt: receipts[0], For: time.Second}})); err != nil {
		t.Error(err)
	}
	if err := (Messages{Client: client, URL: config.QueueURL + "-missing"}).Delete(t.Context(), receipts); err == nil {
		t.Error("deleting from a queue that is not there went well")
	}
}
