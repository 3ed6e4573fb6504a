package batch_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"containertriggers/shared/dispatch/batch"
)

// In a batch of a FIFO queue, the messages behind a failed one in its group are skipped.
// Messages of other groups are delivered.
func Example() {
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Header.Get("X-Amz-Target")) // a1 and a2 become hidden until their retry
	}))
	defer endpoint.Close()
	messages := batch.Messages{URL: endpoint.URL + "/1/orders.fifo", Client: sqs.New(sqs.Options{
		Region: "us-east-1", BaseEndpoint: &endpoint.URL, Credentials: aws.AnonymousCredentials{},
	})}

	processor := batch.Processor{Messages: messages, Call: func(_ context.Context, message batch.Message) error {
		if string(message.Event.Body) == "a1" {
			return errors.New("the container answered 500")
		}
		return nil
	}}
	result := processor.Process(context.Background(), []batch.Message{
		batch.NewMessage("1", "r1", "a1", map[string]string{"MessageGroupId": "a"}, nil),
		batch.NewMessage("2", "r2", "a2", map[string]string{"MessageGroupId": "a"}, nil),
		batch.NewMessage("3", "r3", "b1", map[string]string{"MessageGroupId": "b"}, nil),
	})
	for _, message := range result.Delivered {
		fmt.Println("delivered:", string(message.Event.Body))
	}
	for _, message := range result.Failed {
		fmt.Println("failed:", string(message.Event.Body), "for", result.Failure)
	}
	for _, message := range result.Skipped {
		fmt.Println("skipped:", string(message.Event.Body))
	}
	// Output:
	// AmazonSQS.ChangeMessageVisibilityBatch
	// delivered: b1
	// failed: a1 for the container answered 500
	// skipped: a2
}
