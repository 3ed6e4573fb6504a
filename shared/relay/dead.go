package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// DeadLetters is the queue of what was given up and no source keeps.
type DeadLetters struct {
	Client SendAPI
	URL    string
}

// SendAPI is what DeadLetters needs of the SQS client.
type SendAPI interface {
	SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
}

// Letter is a message that was given up.
type Letter struct {
	TriggerID string              `json:"trigger_id"`
	Reason    string              `json:"reason"`
	ID        string              `json:"id"`
	Time      time.Time           `json:"time"`
	Subject   string              `json:"subject"`
	Headers   map[string][]string `json:"headers,omitempty"`
	// Payload is in base64. It is left out where SQS does not take that much, which
	// PayloadBytes then tells by.
	Payload      []byte `json:"payload,omitempty"`
	PayloadBytes int    `json:"payload_bytes"`
}

// putTime bounds one put.
const putTime = 5 * time.Second

// Put keeps a letter, even though the time for it is over.
func (d DeadLetters) Put(ctx context.Context, letter Letter) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTime)
	defer cancel()
	err := d.send(ctx, letter)
	if err != nil && len(letter.Payload) > 0 {
		letter.Payload = nil
		err = errors.Join(d.send(ctx, letter), fmt.Errorf("the payload of %d bytes was not kept: %w", letter.PayloadBytes, err))
	}
	return err
}

func (d DeadLetters) send(ctx context.Context, letter Letter) error {
	body, err := json.Marshal(letter)
	if err != nil {
		return fmt.Errorf("encoding a dead letter: %w", err)
	}
	if _, err := d.Client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &d.URL, MessageBody: aws.String(string(body))}); err != nil {
		return fmt.Errorf("putting a dead letter: %w", err)
	}
	return nil
}
