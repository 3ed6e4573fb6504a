package runs_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"containertriggers/shared/api/httpapi"
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
	if err := b.Runs.Delete(t.Context(), b.only().Key); err != nil {
		t.Fatal(err)
	}
	b.refuse, b.started = nil, nil

	text, err := resume(`{"catch_up":"last"}`)
	if err != nil || !strings.Contains(text, `"paused_at":null`) {
		t.Errorf("got %s, %v", text, err)
	}
	if len(b.started) != 0 {
		t.Errorf("an occurrence that has a run ran again: %v", b.started)
	}

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
