package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"containertriggers/shared/dispatch/invoke"
)

// settled records what SQS is told, and when, on the bubble's clock. What SQS does
// with it the end-to-end tests show.
type settled struct {
	began time.Time
	mu    sync.Mutex
	told  []string
	fail  bool
}

func (s *settled) tell(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprintf("%gs: %s", time.Since(s.began).Seconds(), what))
	if s.fail {
		return errors.New("SQS is down")
	}
	return nil
}

func (s *settled) ChangeMessageVisibilityBatch(_ context.Context, input *sqs.ChangeMessageVisibilityBatchInput, _ ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	var parts []string
	for _, entry := range input.Entries {
		parts = append(parts, fmt.Sprintf("%s for %ds", aws.ToString(entry.ReceiptHandle), entry.VisibilityTimeout))
	}
	return &sqs.ChangeMessageVisibilityBatchOutput{}, s.tell("hide " + strings.Join(parts, ", "))
}

func (s *settled) DeleteMessageBatch(_ context.Context, input *sqs.DeleteMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	var parts []string
	for _, entry := range input.Entries {
		parts = append(parts, aws.ToString(entry.ReceiptHandle))
	}
	return &sqs.DeleteMessageBatchOutput{}, s.tell("delete " + strings.Join(parts, ", "))
}

// scene is a batch and what the container does with each message.
type scene struct {
	messages []Message
	// takes and answers are by the message's ID: how long the container takes, and
	// how it fails.
	takes   map[string]time.Duration
	answers map[string]error
	// run is how long the run has, if not for ever.
	run time.Duration

	calls []string // what was called, as it began
	settled
}

func of(id, group string, receives int) Message {
	return Message{ID: id, Receipt: id, Group: group, Receives: receives, Event: invoke.Event{ID: id}}
}

// play delivers the scene in a bubble, in which no time is lost.
func (s *scene) play(t *testing.T, check func(Result)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s.began = time.Now()
		ctx := t.Context()
		if s.run > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, s.began.Add(s.run))
			defer cancel()
		}
		check(Processor{
			Messages: Messages{Client: &s.settled, URL: "https://queue"},
			Call: func(ctx context.Context, message Message) error {
				s.mu.Lock()
				s.calls = append(s.calls, message.ID)
				s.mu.Unlock()
				select {
				case <-time.After(s.takes[message.ID]):
					return s.answers[message.ID]
				case <-ctx.Done():
					return &invoke.Failure{Message: "cut off"}
				}
			},
		}.Process(ctx, s.messages))
	})
}

func ids(messages []Message) string {
	var list []string
	for _, message := range messages {
		list = append(list, message.ID)
	}
	return strings.Join(list, " ")
}

func (s *scene) expectTold(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(s.told, want) {
		t.Errorf("SQS was told\n%s\nwant\n%s", strings.Join(s.told, "\n"), strings.Join(want, "\n"))
	}
}

var refusal = &invoke.Failure{Message: "the container answered 500", StatusCode: 500}

func TestProcess_DeliversMessagesInParallel(t *testing.T) {
	t.Parallel()
	s := &scene{takes: map[string]time.Duration{}}
	for i := range 10 {
		s.messages = append(s.messages, of(fmt.Sprint(i), "", 1))
		s.takes[fmt.Sprint(i)] = 900 * time.Millisecond
	}
	s.play(t, func(r Result) {
		if took := time.Since(s.began); took != 900*time.Millisecond || len(r.Delivered) != 10 || r.Failure != "" {
			t.Errorf("%d messages in %s, %q", len(r.Delivered), took, r.Failure)
		}
	})
	s.expectTold(t) // Lambda deletes them
}

func TestProcess_ReturnsOnlyTheFailedMessages(t *testing.T) {
	t.Parallel()
	s := &scene{
		messages: []Message{of("good", "", 1), of("bad", "", 1), of("asks", "", 1)},
		answers: map[string]error{
			"bad": refusal, "asks": &invoke.Failure{Message: "the container answered 503", RetryAfter: 90 * time.Second},
		},
		takes: map[string]time.Duration{"asks": time.Millisecond},
	}
	s.play(t, func(r Result) {
		if ids(r.Delivered) != "good" || ids(r.Failed) != "bad asks" || len(r.Skipped) > 0 || r.Failure != "the container answered 503" {
			t.Errorf("got %+v", r)
		}
	})
	s.expectTold(t, "0.001s: hide bad for 1s, asks for 90s")
}

func TestProcess_SkipsTheRestOfAGroupAfterAFailure(t *testing.T) {
	t.Parallel()
	s := &scene{
		messages: []Message{of("a1", "a", 1), of("b1", "b", 1), of("a2", "a", 1), of("b2", "b", 1), of("a3", "a", 1), of("b3", "b", 1), of("lone", "", 1)},
		answers:  map[string]error{"a2": refusal},
		takes:    map[string]time.Duration{"b1": 10 * time.Millisecond, "b2": 10 * time.Millisecond},
	}
	s.play(t, func(r Result) {
		if ids(r.Delivered) != "a1 b1 b2 b3 lone" || ids(r.Failed) != "a2" || ids(r.Skipped) != "a3" {
			t.Errorf("got %+v", r)
		}
	})
	if slices.Contains(s.calls, "a3") || slices.Index(s.calls, "b1") > slices.Index(s.calls, "b2") || slices.Index(s.calls, "b2") > slices.Index(s.calls, "b3") {
		t.Errorf("called %v", s.calls)
	}
	s.expectTold(t, "0.02s: hide a2 for 1s, a3 for 1s")
}

func TestProcess_ExtendsTheVisibilityOfALongCallOnly(t *testing.T) {
	t.Parallel()
	s := &scene{
		messages: []Message{of("long", "", 1), of("quick", "", 1), of("bad", "", 1)},
		takes:    map[string]time.Duration{"long": 25500 * time.Millisecond},
		answers:  map[string]error{"bad": refusal},
	}
	s.play(t, func(r Result) {
		if ids(r.Delivered) != "long quick" || ids(r.Failed) != "bad" {
			t.Errorf("got %+v", r)
		}
	})
	// The failed one need not wait for the long one; the delivered one is deleted
	// before its visibility timeout could pass.
	s.expectTold(t, "1s: delete quick", "1s: hide long for 30s, bad for 1s", "11s: hide long for 30s", "21s: hide long for 30s")
}

func TestProcess_RepeatsFailedCallsOfSQS(t *testing.T) {
	t.Parallel()
	s := &scene{
		messages: []Message{of("long", "", 1), of("bad", "", 1)},
		takes:    map[string]time.Duration{"long": 2500 * time.Millisecond},
		answers:  map[string]error{"bad": refusal},
	}
	s.fail = true
	s.play(t, func(Result) {})
	s.expectTold(t, "1s: hide long for 30s, bad for 1s", "2s: hide bad for 1s", "2.5s: hide bad for 1s")
}

func TestProcess_OutOfTimeLosesNothing(t *testing.T) {
	t.Parallel()
	s := &scene{
		messages: []Message{of("slow", "", 3), of("g1", "g", 1), of("g2", "g", 1), of("g3", "g", 1)},
		takes:    map[string]time.Duration{"slow": time.Hour, "g1": 4500 * time.Millisecond, "g2": time.Second},
		run:      5 * time.Second,
	}
	s.play(t, func(r Result) {
		if took := time.Since(s.began); took != 5*time.Second {
			t.Errorf("it took %s", took)
		}
		if ids(r.Delivered) != "g1" || ids(r.Failed) != "slow" || ids(r.Skipped) != "g2 g3" || r.Failure != "cut off" {
			t.Errorf("got %+v", r)
		}
	})
	if len(s.calls) != 2 {
		t.Errorf("called %v", s.calls)
	}
	// At the end at once, or one after the other: both are due at five seconds.
	if told := strings.Join(s.told, "\n"); !strings.Contains(told, "g2 for 1s, g3 for 1s") || !strings.Contains(told, "slow for") {
		t.Errorf("SQS was told %s", told)
	}
}

func TestNewMessage_ReadsTheEventOfLambda(t *testing.T) {
	t.Parallel()
	// The sample of the Lambda Developer Guide, "Using Lambda with Amazon SQS", with
	// attributes of each type.
	const sample = `{"messageId":"059f36b4-87a3-44ab-83d2-661975830a7d","receiptHandle":"AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
		"body":"Test message.","attributes":{"ApproximateReceiveCount":"2","SentTimestamp":"1545082649183","SenderId":"AIDAIENQZJOLO23YVJ4VO",
		"ApproximateFirstReceiveTimestamp":"1545082649185","MessageGroupId":"g"},"messageAttributes":{
		"My-String":{"stringValue":"ab","stringListValues":[],"binaryListValues":[],"dataType":"String.custom"},
		"n":{"stringValue":"12.5","dataType":"Number"},"b":{"binaryValue":"AAH/","dataType":"Binary.png"},"B":{"stringValue":"upper","dataType":"String"},"Content-Type":{"stringValue":"text/xml","dataType":"String"}},
		"md5OfBody":"e4e68fb7bd0e697a0ae8f1bb342846b3","eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:us-east-2:123456789012:my-queue","awsRegion":"us-east-2"}`
	var record events.SQSMessage
	if err := json.Unmarshal([]byte(sample), &record); err != nil {
		t.Fatal(err)
	}
	attributes := map[string]Attribute{}
	for name, a := range record.MessageAttributes {
		attributes[name] = Attribute{DataType: a.DataType, String: a.StringValue, Binary: a.BinaryValue}
	}
	got := NewMessage(record.MessageId, record.ReceiptHandle, record.Body, record.Attributes, attributes)
	want := http.Header{"My-String": {"ab"}, "n": {"12.5"}, "b": {"AAH/"}, "B": {"upper"}, "Content-Type": {"text/xml"}}
	if got.ID != record.MessageId || got.Receipt != record.ReceiptHandle || got.Group != "g" || got.Receives != 2 ||
		got.Event.ID != record.MessageId || got.Event.Type != "containertriggers.sqs" || string(got.Event.Body) != "Test message." ||
		!got.Event.Time.Equal(time.UnixMilli(1545082649183)) || fmt.Sprint(got.Event.Header) != fmt.Sprint(want) {
		t.Errorf("got %+v", got)
	}
	if bare := NewMessage("id", "r", "", nil, nil); bare.Receives != 1 || bare.Group != "" {
		t.Errorf("got %+v", bare)
	}
}
