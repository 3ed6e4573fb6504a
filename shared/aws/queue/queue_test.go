package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/awserr"
)

// create makes a queue on moto. It returns the queue's home and the config of a trigger
// on it.
func create(t *testing.T, name string, attributes map[string]string) (Home, trigger.SQS) {
	t.Helper()
	cfg := mototest.Config(t)
	created, err := sqs.NewFromConfig(cfg).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	home, err := HomeOf("arn:aws:lambda:us-east-1:123456789012:function:f", *cfg.BaseEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	return home, trigger.SQS{Endpoint: *cfg.BaseEndpoint, QueueURL: *created.QueueUrl, AccessKeyID: "local"}
}

func TestDescribe_ReturnsTheAttributesOfTheQueue(t *testing.T) {
	t.Parallel()
	dead, name := uuid.NewString(), uuid.NewString()+".fifo"
	create(t, dead+".fifo", map[string]string{"FifoQueue": "true"})
	home, config := create(t, name, map[string]string{
		"FifoQueue": "true", "VisibilityTimeout": "45",
		"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:` + dead + `.fifo","maxReceiveCount":"7"}`,
	})
	got, err := home.Describe(t.Context(), config, "local")
	want := Queue{ARN: "arn:aws:sqs:us-east-1:123456789012:" + name, URL: config.QueueURL, VisibilityTimeout: 45 * time.Second, MaxReceives: 7, FIFO: true}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}

	home, config = create(t, uuid.NewString(), nil)
	got, err = home.Describe(t.Context(), config, "local")
	if err != nil || got.FIFO || got.MaxReceives != 0 || got.VisibilityTimeout != 30*time.Second {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDescribe_QueueOfAnotherAccountOrRegionIsForeign(t *testing.T) {
	t.Parallel()
	home, config := create(t, uuid.NewString(), nil)
	for _, other := range []Home{
		{Region: home.Region, Account: "210987654321", Emulator: home.Emulator},
		{Region: "eu-west-3", Account: home.Account, Emulator: home.Emulator},
	} {
		// The signature's region is the home's, which moto goes by; so the queue of
		// the other region is one that it does not find there.
		_, err := other.Describe(t.Context(), config, "local")
		if _, ok := errors.AsType[*Problem](err); !ok || other.Region == home.Region && !errors.Is(err, ErrForeign) {
			t.Errorf("%+v: got %v", other, err)
		}
	}
}

func TestDescribe_RefusesAnAnswerForAnotherQueue(t *testing.T) {
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

func TestDescribe_SendsNothingToAForeignEndpoint(t *testing.T) {
	t.Parallel()
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(server.Close)
	home := Home{Region: "us-east-1", Account: "123456789012"}
	_, err := home.Describe(t.Context(), trigger.SQS{Endpoint: server.URL, QueueURL: server.URL + "/123456789012/q"}, "s")
	if !errors.Is(err, ErrForeign) || asked {
		t.Errorf("got %v, asked: %t", err, asked)
	}
}

func TestExplain_DescribesRefusalsAndKeepsTransientErrors(t *testing.T) {
	t.Parallel()
	config := trigger.SQS{QueueURL: "https://sqs.eu-west-3.amazonaws.com/123456789012/orders", AccessKeyID: "AKIA"}
	for code, test := range map[string]struct{ message, words string }{
		"AWS.SimpleQueueService.NonExistentQueue": {"", `no queue "orders" in the region`},
		"QueueDoesNotExist":                       {"", `no queue "orders"`},
		"InvalidClientTokenId":                    {"", "does not know sqs_config.access_key_id"},
		"UnrecognizedClientException":             {"", "does not know sqs_config.access_key_id"},
		"SignatureDoesNotMatch":                   {"", "secret_access_key does not belong"},
		"InvalidSignatureException":               {"Credential should be scoped to a valid region.", "not in the queue's AWS region"},
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
