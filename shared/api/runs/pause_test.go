package runs_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/run"
)

func TestResume_CatchesUpOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	resume := func(body string) (string, error) {
		found, err := b.Triggers.Get(t.Context(), b.trigger.ID)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := b.Resume().Do(t.Context(), b.caller, httpapi.Request{Region: "fr-par", ID: found.ID, Body: []byte(body)}, found)
		text, _ := json.Marshal(answer)
		return string(text), err
	}
	pause := func(at time.Time) {
		found, err := b.Triggers.Get(t.Context(), b.trigger.ID)
		if err != nil {
			t.Fatal(err)
		}
		paused, err := found.Pause([]byte(`{}`), at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Triggers.Update(t.Context(), found, paused); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now().Add(-50 * time.Hour) // two or three midnights ago
	pause(began)
	b.refuse = errors.New("refused")
	if text, err := resume(`{"catch_up":"last"}`); err == nil {
		t.Errorf("the run could not start, and the answer is %s", text)
	}
	if found, err := b.Triggers.Get(t.Context(), b.trigger.ID); err != nil || !found.Paused() {
		t.Errorf("after a resume that failed, the trigger is %+v, %v", found, err)
	}
	if got := b.only(); got.State != run.Failed || got.Reason != run.NotStarted {
		t.Errorf("the run that could not start is %+v", got)
	}
	b.refuse, b.started = nil, nil

	text, err := resume(`{"catch_up":"last"}`)
	if err != nil || !strings.Contains(text, `"paused_at":null`) {
		t.Errorf("got %s, %v", text, err)
	}
	if got := b.only(); len(b.started) != 1 || got.State != run.Queued {
		t.Errorf("the repeated resume started %v, and the run is %+v", b.started, got)
	}

	// A resume that ended right after it had queued the run is repeated.
	pause(began)
	if _, err := resume(`{"catch_up":"last"}`); err != nil || len(b.started) != 2 || b.only().State != run.Queued {
		t.Errorf("started %v, %+v, %v", b.started, b.only(), err)
	}
	// Nothing starts a run that has ended, or that is deleted.
	its := b.only()
	its.StartedAt = b.Now()
	if _, err := b.Runs.Claim(t.Context(), its, store.Claim{Holder: "h", Until: b.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if err := b.Runs.Record(t.Context(), its, "h", store.Report{State: run.Succeeded, At: b.Now()}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		pause(began)
		if _, err := resume(`{"catch_up":"last"}`); err != nil || len(b.started) != 2 {
			t.Errorf("started %v, %v", b.started, err)
		}
		if err := b.Runs.Delete(t.Context(), its.Key); err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	}
	b.started = nil

	// A day later there is another midnight.
	pause(time.Now())
	b.Now = func() time.Time { return time.Now().Add(24 * time.Hour) }
	if text, err := resume(`{"catch_up":"last"}`); err != nil || !strings.Contains(text, `"paused_at":null`) {
		t.Errorf("got %s, %v", text, err)
	}
	if got := b.only(); len(b.started) != 1 || got.Origin != run.CatchUp || got.State != run.Queued || got.Event != b.Now().UTC().Format("2006-01-02")+"T00:00:00Z" {
		t.Errorf("started %v, got %+v", b.started, got)
	}
	if text, err := resume(`{"catch_up":"last"}`); err != nil || len(b.started) != 1 {
		t.Errorf("a trigger that is not paused: got %s, %v, started %v", text, err, b.started)
	}
}
