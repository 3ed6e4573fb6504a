package main

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

// recorded returns the run of the occurrence.
func (b *testBundle) recorded() run.Run {
	b.t.Helper()
	found, err := b.runs.Get(b.t.Context(), b.fire().Run(b.trigger).Key)
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

func TestHandle_RecordsEveryAttempt(t *testing.T) {
	t.Parallel()
	b := setup(t, http.StatusTeapot)
	b.body = strings.Repeat("x", run.MaxAnswer+1)
	const message = "the container answered 418 I'm a teapot"
	for delivery, want := range []run.State{run.Retrying, run.Retrying, run.Failed} {
		if err := b.deliver("run"); err == nil {
			t.Error("a failure is no error")
		}
		got := b.recorded()
		if got.State != want || got.Reason != run.HTTPStatus || got.Message != message || got.Count != attempts*(delivery+1) || len(got.Attempts) != got.Count {
			t.Errorf("delivery %d: got %+v", delivery+1, got)
		}
		if ended := !got.TerminatedAt.IsZero(); ended != (want == run.Failed) {
			t.Errorf("delivery %d: terminated_at is %v", delivery+1, got.TerminatedAt)
		}
	}
	if got := b.message(); got != message {
		t.Errorf("got message %q", got)
	}
	got := b.recorded()
	for i, a := range got.Attempts {
		if a.HTTPStatus != http.StatusTeapot || a.Error != message || len(a.Answer.Body) != run.MaxAnswer || !a.Answer.Truncated {
			t.Errorf("attempt %d: got %+v", i+1, a)
		}
		if last := i%attempts == attempts-1; last != a.NextAt.IsZero() {
			t.Errorf("attempt %d: the next one is at %v", i+1, a.NextAt)
		}
	}
	if got.Origin != run.Schedule || got.Owner != b.to.Owner || got.ContainerID != b.to.ID || got.EventID != b.trigger.ID+"/2026-11-23T10:00:00Z" || !got.ScheduledAt.Equal(due) {
		t.Errorf("got %+v", got)
	}
	if want := (&run.Request{HTTPMethod: "POST", HTTPPath: "/", Headers: map[string]string{}}); !reflect.DeepEqual(got.Request, want) {
		t.Errorf("got the request %+v, want %+v", got.Request, want)
	}
	if want := b.clock.Add(run.FailedRetention).Truncate(time.Second); !got.ExpiresAt.Equal(want) {
		t.Errorf("it expires at %v, want %v", got.ExpiresAt, want)
	}
}

// pause pauses the trigger, or ends its pause.
func (b *testBundle) pause(paused bool) {
	b.t.Helper()
	current, err := b.resolver.Triggers.Get(b.t.Context(), b.trigger.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	changed, err := current.Pause([]byte(`{"reason":"r"}`), due.Add(-time.Second))
	if !paused {
		changed, _, err = current.Resume([]byte(`{}`), due.Add(-time.Second))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.resolver.Triggers.Update(b.t.Context(), current, changed); err != nil {
		b.t.Fatal(err)
	}
}

func TestHandle_CallsNobodyWhilePaused(t *testing.T) {
	t.Parallel()
	b := setup(t, http.StatusInternalServerError)
	b.pause(true)
	if err := b.deliver("early"); err != nil {
		t.Error(err)
	}
	b.expectCalls(0)
	if _, err := b.runs.Get(t.Context(), b.fire().Run(b.trigger).Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the occurrence has a run: %v", err)
	}
	b.pause(false)
	if err := b.deliver("run"); err == nil {
		t.Error("a failure is no error")
	}
	b.pause(true)
	// The retry of what failed before the pause ends the run.
	if err := b.deliver("run"); err != nil {
		t.Error(err)
	}
	b.expectCalls(attempts)
	got := b.recorded()
	if got.State != run.Failed || got.Reason != run.HTTPStatus || got.Message != "the container answered 500 Internal Server Error; the trigger was paused before the next attempt" {
		t.Errorf("got %+v", got)
	}
}

// A success costs two writes, each of one unit (DynamoDB Developer Guide, "Read and write
// operations": a unit is 1 KB).
func TestHandle_RecordsASuccessInAKilobyte(t *testing.T) {
	t.Parallel()
	b := setup(t, http.StatusOK)
	b.body = strings.Repeat("ä", run.MaxAnswer)
	counter := &writeCounter{HTTPClient: mototest.Config(t).HTTPClient}
	cfg := mototest.Config(t)
	cfg.HTTPClient = counter
	b.runs.Client = dynamodb.NewFromConfig(cfg)
	if err := b.deliver("run"); err != nil {
		t.Fatal(err)
	}
	got := b.recorded()
	if got.State != run.Succeeded || got.Count != 1 || got.Message != "" || got.Reason != "" || got.Request != nil {
		t.Errorf("got %+v", got)
	}
	if body := got.Attempts[0].Answer.Body; body != strings.Repeat("ä", run.MaxAnswerOfSuccess/2) || !got.Attempts[0].Answer.Truncated {
		t.Errorf("got the answer %q", body)
	}
	if want := b.clock.Add(retention).Truncate(time.Second); !got.ExpiresAt.Equal(want) {
		t.Errorf("it expires at %v, want %v", got.ExpiresAt, want)
	}
	if n := counter.writes.Load(); n != 2 {
		t.Errorf("%d writes", n)
	}
	key := b.fire().Run(b.trigger).Key
	answer, err := b.runs.Client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &b.runs.Table, Key: map[string]types.AttributeValue{
		"trigger_id": &types.AttributeValueMemberS{Value: key.TriggerID}, "event": &types.AttributeValueMemberS{Value: key.Event},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if size := sizeOf(answer.Item); size == 0 || size > 1024 {
		t.Errorf("the row has %d bytes", size)
	}
}

// writeCounter counts the requests that write to DynamoDB.
type writeCounter struct {
	aws.HTTPClient
	writes atomic.Int64
}

func (c *writeCounter) Do(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "Item") && !strings.HasSuffix(r.Header.Get("X-Amz-Target"), "GetItem") {
		c.writes.Add(1)
	}
	return c.HTTPClient.Do(r)
}

// sizeOf returns the size of a map of attributes (Developer Guide, "DynamoDB item sizes and
// formats"). A number has about a byte for two digits, and counts here as its text.
func sizeOf(attributes map[string]types.AttributeValue) (size int) {
	for name, value := range attributes {
		size += len(name) + sizeOfValue(value)
	}
	return size
}

func sizeOfValue(value types.AttributeValue) int {
	switch v := value.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberN:
		return len(v.Value)
	case *types.AttributeValueMemberM:
		return 3 + len(v.Value) + sizeOf(v.Value)
	case *types.AttributeValueMemberL:
		size := 3
		for _, element := range v.Value {
			size += 1 + sizeOfValue(element)
		}
		return size
	default:
		return 1
	}
}

// The history of a trigger says which of its runs a list has. A hidden run keeps its claim.
func TestHandle_KeepsTheRunsOfTheHistory(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		history trigger.History
		answer  int
		state   run.State // "" if there is no run
	}{
		{trigger.HistoryAll, 200, run.Succeeded}, {trigger.HistoryAll, 503, run.Retrying},
		{trigger.HistoryFailures, 200, ""}, {trigger.HistoryFailures, 503, run.Retrying},
		{trigger.HistoryNone, 200, ""}, {trigger.HistoryNone, 503, ""},
	} {
		b := setup(t, test.answer)
		changed := b.trigger
		changed.Delivery.History = test.history
		changed.Generation++
		if _, err := b.resolver.Triggers.Update(t.Context(), b.trigger, changed); err != nil {
			t.Fatal(err)
		}
		_ = b.deliver("run") // 503 is an error
		got, err := b.runs.Get(t.Context(), b.fire().Run(b.trigger).Key)
		if test.state == "" && !errors.Is(err, store.ErrNotFound) || test.state != "" && got.State != test.state {
			t.Errorf("%+v: got %+v, %v", test, got, err)
		}
		calls := b.calls.Load()
		if err := b.deliver("another"); test.answer == 200 && (err != nil || b.calls.Load() != calls) {
			t.Errorf("%+v: the occurrence was delivered twice, %v", test, err)
		}
	}
}
