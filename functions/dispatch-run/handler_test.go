package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

// testBundle is the function on moto, with a trigger on a private container that answers as
// it is told.
type testBundle struct {
	function
	t       *testing.T
	trigger trigger.Trigger
	token   string
	answer  int
	calls   chan *http.Request
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	env, cfg := mototest.Environment(t, "dispatch-run"), mototest.Config(t)
	db := dynamodb.NewFromConfig(cfg)
	b := &testBundle{t: t, token: uuid.NewString(), answer: http.StatusOK, calls: make(chan *http.Request, 10)}
	b.function = function{
		resolver: resolve.Resolver{
			Triggers:   store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]},
			Containers: store.Containers{Client: db, Table: env["CONTAINERS_TABLE"]},
			Sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: env["KMS_KEY_ID"]},
			Now:        time.Now,
		},
		runs:   store.Runs{Client: db, Table: env["RUNS_TABLE"], Retention: time.Hour},
		client: invoke.New(invoke.Settings{AllowPrivate: true}),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		b.calls <- r
		w.WriteHeader(b.answer)
		_, _ = io.WriteString(w, "token "+r.Header.Get("X-Auth-Token"))
	}))
	t.Cleanup(server.Close)
	on := container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1,
		PublicEndpoint: server.URL, Privacy: container.Private, Timeout: time.Minute,
	}
	var err error
	if on.SealedToken, err = b.resolver.Sealer.Seal(t.Context(), container.Resource, on.ID, secret.Text(b.token)); err != nil {
		t.Fatal(err)
	}
	if err := b.resolver.Containers.Create(t.Context(), on); err != nil {
		t.Fatal(err)
	}
	body := `{"name":"n","container_id":"` + on.ID + `","cron_config":{"schedule":"@daily","body":"of the trigger","headers":{"X-A":"1","Host":"other"}}}`
	b.trigger, _, err = trigger.Create([]byte(body), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.resolver.Triggers.Create(t.Context(), b.resolver.Containers, b.trigger); err != nil {
		t.Fatal(err)
	}
	return b
}

// enqueue queues a run with what a caller gives.
func (b *testBundle) enqueue(body string) run.Run {
	b.t.Helper()
	its, _, err := b.trigger.NewRun([]byte(body), uuid.NewString(), time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.runs.Enqueue(b.t.Context(), its, time.Now(), time.Now().Add(time.Minute)); err != nil {
		b.t.Fatal(err)
	}
	return its
}

// deliver runs the function as Lambda does, and returns the run.
func (b *testBundle) deliver(its run.Run, requestID string) run.Run {
	b.t.Helper()
	ctx := lambdacontext.NewContext(context.Background(), &lambdacontext.LambdaContext{AwsRequestID: requestID})
	if err := b.handle(ctx, event{StartEvent: run.StartEvent{RunID: its.ID()}}); err != nil {
		b.t.Fatal(err)
	}
	got, err := b.runs.Get(b.t.Context(), its.Key)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func TestHandle_MakesOneAttemptWithTheRequestOfTheRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	its := b.enqueue(`{"body":"of the caller","http_method":"get","http_path":"/x?y=1"}`)
	got := b.deliver(its, "first")
	call := <-b.calls
	body, _ := io.ReadAll(call.Body)
	if call.Method != http.MethodGet || call.URL.RequestURI() != "/x?y=1" || string(body) != "of the caller" || call.Header.Get("X-A") != "1" ||
		call.Header.Get("X-Auth-Token") != b.token || call.Header.Get("Ce-Id") != its.EventID {
		t.Errorf("the container got %+v", call)
	}
	want := &run.Request{HTTPMethod: "GET", HTTPPath: "/x?y=1", Headers: map[string]string{"X-A": "1"}, Body: "of the caller"}
	if got.State != run.Succeeded || got.Count != 1 || !got.Attempts[0].Manual || got.Attempts[0].Answer.Body != "token [token]" {
		t.Errorf("got %+v", got)
	}
	if b.deliver(its, "double"); len(b.calls) > 0 {
		t.Error("a double of the event is a second call")
	}

	b.answer = http.StatusBadGateway
	failing := b.enqueue(`{"body":"of the caller","http_method":"get","http_path":"/x?y=1"}`)
	got = b.deliver(failing, "failing")
	if got.State != run.Failed || got.Reason != run.HTTPStatus || got.Message != "the container answered 502 Bad Gateway" || !reflect.DeepEqual(got.Request, want) {
		t.Errorf("got %+v with the request %+v", got, got.Request)
	}
	if len(b.calls) != 1 {
		t.Errorf("%d calls", len(b.calls))
	}
}

// A run that succeeded keeps no request.
func TestHandle_ReplaysAnOccurrenceWithTheRequestOfItsTrigger(t *testing.T) {
	t.Parallel()
	b := setup(t)
	its := trigger.Occurrence{TriggerID: b.trigger.ID, ContainerID: b.trigger.ContainerID, ScheduledTime: time.Now().Truncate(time.Minute)}.Run(b.trigger)
	its.StartedAt = time.Now()
	if _, err := b.runs.Claim(t.Context(), its, store.Claim{Holder: "h", Until: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := b.runs.Record(t.Context(), its, "h", store.Report{State: run.Succeeded, Attempts: []run.Attempt{{HTTPStatus: 200}}}); err != nil {
		t.Fatal(err)
	}
	if err := b.runs.Requeue(t.Context(), its.Key, time.Now(), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	got := b.deliver(its, "replay")
	call := <-b.calls
	body, _ := io.ReadAll(call.Body)
	if string(body) != "of the trigger" || call.Header.Get("Ce-Id") != its.EventID || call.Method != http.MethodPost {
		t.Errorf("the container got %q in %+v", body, call)
	}
	if got.State != run.Succeeded || got.Count != 2 || got.Attempts[0].Manual || !got.Attempts[1].Manual || got.Origin != run.Schedule {
		t.Errorf("got %+v", got)
	}
}

func TestHandle_EndsARunWhoseTriggerIsGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	deleting, gone := b.enqueue(`{}`), b.enqueue(`{}`)
	if _, err := b.resolver.Triggers.MarkDeleting(t.Context(), b.trigger.ID); err != nil {
		t.Fatal(err)
	}
	first := b.deliver(deleting, "deleting")
	if err := b.resolver.Triggers.Remove(t.Context(), b.trigger); err != nil {
		t.Fatal(err)
	}
	for _, got := range []run.Run{first, b.deliver(gone, "gone")} {
		if got.State != run.Failed || got.Message != "the trigger or its container is deleted" || got.TerminatedAt.IsZero() || got.Count != 0 {
			t.Errorf("got %+v", got)
		}
	}
	if len(b.calls) > 0 {
		t.Error("the container was called")
	}
	if err := b.handle(t.Context(), event{StartEvent: run.StartEvent{RunID: "x"}}); err == nil {
		t.Error("an event that is no ID of a run is accepted")
	}
}

// message is a message of the queue of catch-ups.
func message(body string) event {
	return event{SQSEvent: events.SQSEvent{Records: []events.SQSMessage{{Body: body}}}}
}

func TestHandle_TakesTheQueueOfCatchUps(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var parsed event
	its := b.enqueue(`{}`)
	if err := json.Unmarshal([]byte(`{"Records":[{"body":"{\"run_id\":\"`+its.ID()+`\"}"}]}`), &parsed); err != nil {
		t.Fatal(err)
	}
	if err := b.handle(t.Context(), parsed); err != nil || len(b.calls) != 1 {
		t.Errorf("%d calls, %v", len(b.calls), err)
	}
	b.answer = http.StatusBadGateway
	failing := b.enqueue(`{}`)
	for range 2 { // the queue may deliver a message twice
		if err := b.handle(t.Context(), message(`{"run_id":"`+failing.ID()+`"}`)); err != nil || len(b.calls) != 2 {
			t.Errorf("%d calls, %v", len(b.calls), err)
		}
	}
	for _, gone := range []string{"no JSON", `{"run_id":"x"}`, `{"run_id":"` + (run.Key{TriggerID: uuid.NewString(), Event: "2026-11-25T08:00:00Z"}).ID() + `"}`} {
		if err := b.handle(t.Context(), message(gone)); err != nil {
			t.Errorf("%s blocks the queue: %v", gone, err)
		}
	}

	// If the service fails, the run has failed, and the next one gets its turn.
	broken := b.enqueue(`{}`)
	b.resolver.Containers.Table = "no-such-table"
	if err := b.handle(t.Context(), message(`{"run_id":"`+broken.ID()+`"}`)); err != nil {
		t.Error(err)
	}
	if got, err := b.runs.Get(t.Context(), broken.Key); err != nil || got.State != run.Failed || got.Message != "the service failed" {
		t.Errorf("got %+v, %v", got, err)
	}
	b.runs.Table = "no-such-table"
	if err := b.handle(t.Context(), message(`{"run_id":"`+broken.ID()+`"}`)); err == nil {
		t.Error("a run that is not marked as failed leaves the queue")
	}
}
