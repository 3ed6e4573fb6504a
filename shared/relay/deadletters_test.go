package relay

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"golang.org/x/sync/semaphore"
)

// sendings is a dead-letter queue that takes a second for each letter.
type sendings struct {
	mu                 sync.Mutex
	now, most, letters int
	last               DeadLetter
}

func (s *sendings) SendMessage(_ context.Context, input *sqs.SendMessageInput, _ ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	var letter DeadLetter
	if err := json.Unmarshal([]byte(*input.MessageBody), &letter); err != nil || len(*input.MessageBody) > 1<<20 {
		return nil, errors.Join(err, errors.New("SQS refuses it"))
	}
	s.mu.Lock()
	s.now += len(letter.Payload)
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	<-time.After(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now -= len(letter.Payload)
	s.letters++
	s.last = letter
	return &sqs.SendMessageOutput{}, nil
}

func TestDeadLetters_SendLimitedPayloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queue := &sendings{}
		letters := DeadLetters{Client: queue, memory: semaphore.NewWeighted(sendingMemory)}
		var work sync.WaitGroup
		for range 20 {
			work.Go(func() {
				if err := letters.Put(t.Context(), DeadLetter{Payload: make([]byte, maxPayload), PayloadBytes: maxPayload}); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
		if queue.letters != 20 || queue.most > sendingMemory {
			t.Errorf("%d letters were sent, %d bytes at the same time", queue.letters, queue.most)
		}
		err := letters.Put(t.Context(), DeadLetter{ID: "large", Payload: make([]byte, maxPayload+1), PayloadBytes: maxPayload + 1})
		if !errors.Is(err, errTooLarge) || queue.last.ID != "large" || queue.last.Payload != nil || queue.last.PayloadBytes != maxPayload+1 {
			t.Errorf("got %+v, %v", queue.last, err)
		}
	})
}
