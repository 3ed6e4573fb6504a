package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"golang.org/x/sync/semaphore"
)

// DeadLetters is the dead-letter queue for events that neither a source nor a run keeps.
type DeadLetters struct {
	Client SendAPI
	URL    string
	// memory limits the payloads that are being sent, because encoding one takes several
	// times its size. A run sets it. Without it, nothing limits them.
	memory *semaphore.Weighted
}

const (
	// maxPayload is the largest payload that is sent. In base64 and with the rest of the
	// letter, it fits into a message of 1 MiB (Amazon SQS Developer Guide, "Amazon SQS
	// message quotas").
	maxPayload = 700 << 10
	// sendingMemory limits the size of the payloads that a run sends at the same time.
	sendingMemory = 4 << 20
)

// SendAPI is the part of the SQS client that DeadLetters uses.
type SendAPI interface {
	SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
}

// DeadLetter is an event that failed for good.
type DeadLetter struct {
	TriggerID string `json:"trigger_id"`
	Reason    string `json:"reason"`
	// ID and Time are those of the event that the container would have received.
	ID   string    `json:"id"`
	Time time.Time `json:"time,omitzero"`
	// Subject and Headers are those of a NATS message.
	Subject string              `json:"subject,omitempty"`
	Headers map[string][]string `json:"headers,omitempty"`
	// Payload is in base64. It is absent if it is too large for SQS. PayloadBytes is its
	// size in both cases.
	Payload      []byte `json:"payload,omitempty"`
	PayloadBytes int    `json:"payload_bytes,omitempty"`
}

// putTime limits one Put.
const putTime = 5 * time.Second

// errTooLarge is the error of a payload that SQS does not accept.
var errTooLarge = errors.New("it is larger than SQS accepts")

// Put sends a letter to the queue, even if ctx has ended. If the queue does not accept
// the payload, Put sends the letter without it and returns an error.
func (d DeadLetters) Put(ctx context.Context, letter DeadLetter) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTime)
	defer cancel()
	err := errTooLarge
	if size := int64(len(letter.Payload)); size <= maxPayload {
		if d.memory != nil {
			if err := d.memory.Acquire(ctx, size); err != nil {
				return fmt.Errorf("waiting to send a dead letter: %w", err)
			}
			defer d.memory.Release(size)
		}
		err = d.send(ctx, letter)
	}
	if err != nil && len(letter.Payload) > 0 {
		letter.Payload = nil
		err = errors.Join(d.send(ctx, letter), fmt.Errorf("the payload of %d bytes was not kept: %w", letter.PayloadBytes, err))
	}
	return err
}

func (d DeadLetters) send(ctx context.Context, letter DeadLetter) error {
	body, err := json.Marshal(letter)
	if err != nil {
		return fmt.Errorf("encoding a dead letter: %w", err)
	}
	if _, err := d.Client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &d.URL, MessageBody: aws.String(string(body))}); err != nil {
		return fmt.Errorf("sending a dead letter: %w", err)
	}
	return nil
}
