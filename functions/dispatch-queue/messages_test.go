package main

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/dispatch/batch"
)

func TestMessages_ChangeVisibilityAndDeleteInBatches(t *testing.T) {
	t.Parallel()
	client := sqs.NewFromConfig(mototest.Config(t))
	created, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(uuid.NewString())})
	if err != nil {
		t.Fatal(err)
	}
	queueURL := *created.QueueUrl
	const count = 25
	for i := range count {
		if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &queueURL, MessageBody: aws.String(strconv.Itoa(i))}); err != nil {
			t.Fatal(err)
		}
	}
	receive := func() (messages []types.Message) {
		for {
			page, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queueURL, MaxNumberOfMessages: 10, VisibilityTimeout: 600})
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
	m := batch.Messages{Client: client, URL: queueURL}
	var hidden []batch.Visibility
	var receipts []string
	for i, message := range received {
		if i < 12 {
			hidden = append(hidden, batch.Visibility{Receipt: *message.ReceiptHandle})
		} else {
			receipts = append(receipts, *message.ReceiptHandle)
		}
	}
	if err := errors.Join(m.ChangeVisibility(t.Context(), hidden), m.Delete(t.Context(), receipts)); err != nil {
		t.Fatal(err)
	}
	if got := len(receive()); got != 12 {
		t.Errorf("%d messages came back, want the 12 that are visible again", got)
	}
	// Both ignore messages that no longer exist.
	if err := errors.Join(m.Delete(t.Context(), receipts), m.ChangeVisibility(t.Context(), []batch.Visibility{{Receipt: receipts[0], For: time.Second}})); err != nil {
		t.Error(err)
	}
	if err := (batch.Messages{Client: client, URL: queueURL + "-missing"}).Delete(t.Context(), receipts); err == nil {
		t.Error("Delete returned no error for a queue that does not exist")
	}
}
