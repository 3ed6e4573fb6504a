package main

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// The relay has so many receivers for a queue that is busy, and receives so many messages at
// once (shared/relay, sqsConnections and maxReceive).
const (
	receivers = 2
	batchSize = 10
)

// sqs receives from a queue, and deletes the messages of each receive together, as the relay
// does.
func (f floor) sqs(endpoint, queueURL string) error {
	client := sqs.New(sqs.Options{
		Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	for range receivers {
		go f.receive(client, queueURL)
	}
	return nil
}

// receive receives batches and calls the container for them, for ever.
func (f floor) receive(client *sqs.Client, queueURL string) {
	for {
		for range batchSize {
			f.slots <- struct{}{}
		}
		answer, err := client.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{
			QueueUrl: &queueURL, MaxNumberOfMessages: batchSize, WaitTimeSeconds: 20, VisibilityTimeout: 30,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
			MessageAttributeNames:       []string{"All"},
		})
		if err != nil {
			tell(err)
			time.Sleep(time.Second) //nolint:forbidigo // the endpoint may answer later
			answer = &sqs.ReceiveMessageOutput{}
		}
		for range batchSize - len(answer.Messages) {
			<-f.slots
		}
		go f.deliver(client, queueURL, answer.Messages)
	}
}

// deliver calls the container for all messages at the same time, and deletes them.
func (f floor) deliver(client *sqs.Client, queueURL string, messages []types.Message) {
	if len(messages) == 0 {
		return
	}
	delivered := make([]bool, len(messages))
	var calls sync.WaitGroup
	for i, m := range messages {
		calls.Go(func() {
			defer func() { <-f.slots }()
			err := f.call([]byte(aws.ToString(m.Body)))
			tell(err)
			delivered[i] = err == nil
		})
	}
	calls.Wait()
	var entries []types.DeleteMessageBatchRequestEntry
	for i, m := range messages {
		if delivered[i] {
			entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
		}
	}
	if len(entries) == 0 {
		return
	}
	_, err := client.DeleteMessageBatch(context.Background(), &sqs.DeleteMessageBatchInput{QueueUrl: &queueURL, Entries: entries})
	tell(err)
}
