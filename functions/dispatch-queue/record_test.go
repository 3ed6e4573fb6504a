package main

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/record"
	"containertriggers/shared/domain/run"
)

// records makes the function record its calls in a table, by default that of the deployment.
func (b *testBundle) records(table string) store.Runs {
	if table == "" {
		table = b.env["RUNS_TABLE"]
	}
	cfg := mototest.Config(b.tb)
	cfg.HTTPClient = b.counter
	runs := store.Runs{Client: dynamodb.NewFromConfig(cfg), Table: table, Retention: time.Hour}
	b.recorder = record.New(runs, "stack", func() time.Time { return b.clock })
	return runs
}

// A message that is delivered at once costs no write, and each further call of another one.
func TestHandle_WritesOnlyTheCallsOfMessagesThatFail(t *testing.T) {
	t.Parallel()
	b := setup(t)
	runs := b.records("")
	b.claim(3)
	b.deliver(b.batch(1, "a", "b", "c", "d"))
	if calls := b.counter.reset(); calls["UpdateItem"] > 0 || calls["PutItem"] > 0 {
		t.Errorf("four messages cost the calls %v", calls)
	}
	for receives, step := range []struct {
		status int
		state  run.State
	}{{http.StatusServiceUnavailable, run.Retrying}, {http.StatusServiceUnavailable, run.Retrying}, {http.StatusServiceUnavailable, run.Failed}, {http.StatusOK, run.Succeeded}} {
		b.answers(step.status)
		sent := b.batch(receives+1, "m")
		b.counter.reset()
		b.deliver(sent)
		if calls := b.counter.reset(); calls["UpdateItem"] > 2 { // the run, and error_message if it changes
			t.Errorf("delivery %d costs the calls %v", receives+1, calls)
		}
		its := record.RunOf(b.trigger, message(sent.Records[0]).Event)
		got, err := runs.Get(t.Context(), its.Key)
		if err != nil || got.State != step.state || got.Count != receives+1 || got.Owner != b.to.Owner {
			t.Errorf("delivery %d: got %+v, %v", receives+1, got, err)
		}
		if step.state != run.Succeeded && got.Request.Body != "m" {
			t.Errorf("delivery %d: the request is %+v", receives+1, got.Request)
		}
	}
}

// Without a table of runs, each message is called and settled as with one.
func TestHandle_NeedsNoTableOfRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.records("no-such-table")
	b.answers(http.StatusServiceUnavailable)
	if failed := b.deliver(b.batch(1, "a", "b")); !slices.Equal(failed, []string{"id-a", "id-b"}) {
		t.Errorf("failed: %v", failed)
	}
	if b.errorMessage() == "" {
		t.Error("error_message does not tell of the failure")
	}
	b.answers(http.StatusOK)
	if failed := b.deliver(b.batch(2, "a", "b")); len(failed) > 0 {
		t.Errorf("failed: %v", failed)
	}
	if got := b.called(); !slices.Equal(got, []string{"a", "a", "b", "b"}) {
		t.Errorf("the container got %v", got)
	}
}
