package runs_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/runs"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

// testBundle is a starter on moto, with a trigger and a Lambda that counts invocations and
// never runs anything.
type testBundle struct {
	runs.Starter
	t       *testing.T
	trigger trigger.Trigger
	caller  auth.Principal
	started []string
	refuse  error
}

func (b *testBundle) Invoke(_ context.Context, input *lambda.InvokeInput, _ ...func(*lambda.Options)) (*lambda.InvokeOutput, error) {
	b.started = append(b.started, string(input.Payload))
	return &lambda.InvokeOutput{}, b.refuse
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	env, db := mototest.Environment(t, "run-trigger"), dynamodb.NewFromConfig(mototest.Config(t))
	b := &testBundle{t: t, caller: auth.Principal{OrganizationID: uuid.NewString(), PermissionSet: auth.FullAccess}}
	b.Starter = runs.Starter{
		Runs:     store.Runs{Client: db, Table: env["RUNS_TABLE"], Retention: time.Hour},
		Triggers: store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]},
		Client:   b, DispatchARN: env["DISPATCH_RUN_ARN"], Now: time.Now,
	}
	containers := store.Containers{Client: db, Table: mototest.Environment(t, "sweep")["CONTAINERS_TABLE"]}
	on := container.Container{ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1}
	if err := containers.Create(t.Context(), on); err != nil {
		t.Fatal(err)
	}
	created, _, err := trigger.Create([]byte(`{"name":"n","container_id":"`+on.ID+`","cron_config":{"schedule":"@daily"}}`), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	created.Owner = auth.Owner{OrganizationID: b.caller.OrganizationID, ProjectID: uuid.NewString()}
	if err := b.Triggers.Create(t.Context(), containers, created); err != nil {
		t.Fatal(err)
	}
	b.trigger = created
	return b
}

// run asks for a run of the trigger.
func (b *testBundle) run(body string) (any, error) {
	return b.Run().Do(b.t.Context(), b.caller, httpapi.Request{Region: "fr-par", ID: b.trigger.ID, Body: []byte(body)}, b.trigger)
}

// replay asks for a replay of a run.
func (b *testBundle) replay(its run.Run) (any, error) {
	return b.Replay().Do(b.t.Context(), b.caller, httpapi.Request{Region: "fr-par", ID: its.ID(), Body: []byte(`{"wait":"0s"}`)}, its)
}

func (b *testBundle) only() run.Run {
	b.t.Helper()
	found, _, err := b.Runs.List(b.t.Context(), run.Query{Region: "fr-par", OrganizationID: b.caller.OrganizationID, TriggerID: b.trigger.ID, PageSize: 10})
	if err != nil || len(found) != 1 {
		b.t.Fatalf("got %v, %v", found, err)
	}
	return found[0]
}

func TestRun_AnswersTheRunAsItStandsWhenTheWaitIsOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	answer, err := b.run(`{"wait":"0.2s"}`)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	var told struct{ ID, State string }
	if err := json.Unmarshal(text, &told); err != nil || told.State != "queued" || told.ID != b.only().ID() {
		t.Errorf("got %s, %v", text, err)
	}
	if want := `{"run_id":"` + told.ID + `"}`; len(b.started) != 1 || b.started[0] != want {
		t.Errorf("started %v, want %s", b.started, want)
	}
}

func TestRun_HasFailedIfItCannotStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.refuse = errors.New("refused")
	if _, err := b.run(`{}`); apierr.From(err).Type != apierr.TypeInternal {
		t.Errorf("got %v", err)
	}
	if got := b.only(); got.State != run.Failed || got.Reason != run.NotStarted || got.Message != "the service could not start the run" {
		t.Errorf("got %+v", got)
	}
}

func TestReplay_StartsARunOnceAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.refuse = errors.New("refused")
	_, _ = b.run(`{}`) // it fails
	b.refuse, b.started = nil, nil
	its := b.only()
	for range 3 {
		if _, err := b.replay(its); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.started) != 1 {
		t.Errorf("started %v", b.started)
	}
	b.Now = func() time.Time { return time.Now().Add(10 * time.Minute) } // dispatch-run has not begun for too long
	if _, err := b.replay(its); err != nil || len(b.started) != 2 {
		t.Errorf("started %v, %v", b.started, err)
	}
}

func TestRuns_AreNotFoundInAnotherRegion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.run(`{"wait":"0s"}`); err != nil {
		t.Fatal(err)
	}
	its := b.only()
	elsewhere := httpapi.Request{Region: "nl-ams", ID: its.ID(), Body: []byte(`{}`)}
	ask := func(op httpapi.Operation[run.Run]) error {
		_, err := op.Do(t.Context(), b.caller, elsewhere, its)
		return err
	}
	_, ran := b.Run().Do(t.Context(), b.caller, elsewhere, b.trigger)
	for what, err := range map[string]error{"get": ask(runs.Get(b.Runs)), "delete": ask(runs.Delete(b.Runs)), "replay": ask(b.Replay()), "run": ran} {
		if apierr.From(err).Type != apierr.TypeNotFound {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestRun_RefusesATriggerThatIsBeingDeleted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	deleting, err := b.Triggers.MarkDeleting(t.Context(), b.trigger.ID)
	if err != nil {
		t.Fatal(err)
	}
	b.trigger = deleting
	if _, err := b.run(`{}`); apierr.From(err).Type != apierr.TypeTransientState {
		t.Errorf("got %v", err)
	}
	its := run.Run{Key: run.Key{TriggerID: deleting.ID, Event: "2026-11-25T08:00:00Z"}, Region: "fr-par", Owner: deleting.Owner}
	if _, err := b.replay(its); apierr.From(err).Type != apierr.TypeTransientState {
		t.Errorf("got %v", err)
	}
	b.caller.PermissionSet = auth.ReadOnly
	if _, err := b.run(`{}`); apierr.From(err).Type != apierr.TypePermissionsDenied {
		t.Errorf("got %v", err)
	}
}
