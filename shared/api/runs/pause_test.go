package runs_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/runs"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/run"
)

// sent are the run IDs of the messages that a CatchUp has sent.
type sent struct {
	ids, groups []string
	refuse      error
}

func (s *sent) SendMessageBatch(_ context.Context, input *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	if s.refuse != nil {
		return nil, s.refuse
	}
	for _, entry := range input.Entries {
		var start run.StartEvent
		if err := json.Unmarshal([]byte(*entry.MessageBody), &start); err != nil {
			return nil, err
		}
		s.ids, s.groups = append(s.ids, start.RunID), append(s.groups, *entry.MessageGroupId)
	}
	return &sqs.SendMessageBatchOutput{}, nil
}

func TestResume_CatchesUpOnce(t *testing.T) {
	t.Parallel()
	b, queue := setup(t), &sent{}
	resume := func(body string) (string, error) {
		found, err := b.Triggers.Get(t.Context(), b.trigger.ID)
		if err != nil {
			t.Fatal(err)
		}
		catchUp := runs.CatchUp{Runs: b.Runs, Triggers: b.Triggers, Client: queue, QueueURL: "https://queue", Now: b.Now}
		answer, err := catchUp.Resume().Do(t.Context(), b.caller, httpapi.Request{Region: "fr-par", ID: found.ID, Body: []byte(body)}, found)
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
	queue.refuse = errors.New("refused")
	if text, err := resume(`{"catch_up":"last"}`); err == nil {
		t.Errorf("the run could not start, and the answer is %s", text)
	}
	if found, err := b.Triggers.Get(t.Context(), b.trigger.ID); err != nil || !found.Paused() {
		t.Errorf("after a resume that failed, the trigger is %+v, %v", found, err)
	}
	queue.refuse = nil

	text, err := resume(`{"catch_up":"last"}`)
	if err != nil || !strings.Contains(text, `"paused_at":null`) {
		t.Errorf("got %s, %v", text, err)
	}
	if got := b.only(); len(queue.ids) != 1 || got.State != run.Queued {
		t.Errorf("the repeated resume started %v, and the run is %+v", queue.ids, got)
	}

	// A resume that ended right after it had queued the run is repeated.
	pause(began)
	if _, err := resume(`{"catch_up":"last"}`); err != nil || len(queue.ids) != 2 || b.only().State != run.Queued {
		t.Errorf("started %v, %+v, %v", queue.ids, b.only(), err)
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
		if _, err := resume(`{"catch_up":"last"}`); err != nil || len(queue.ids) != 2 {
			t.Errorf("started %v, %v", queue.ids, err)
		}
		if err := b.Runs.Delete(t.Context(), its.Key); err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	}
	queue.ids = nil

	// A day later there is another midnight.
	pause(time.Now())
	b.Now = func() time.Time { return time.Now().Add(24 * time.Hour) }
	if text, err := resume(`{"catch_up":"last"}`); err != nil || !strings.Contains(text, `"paused_at":null`) {
		t.Errorf("got %s, %v", text, err)
	}
	if got := b.only(); len(queue.ids) != 1 || got.Origin != run.CatchUp || got.State != run.Queued || got.Event != b.Now().UTC().Format("2006-01-02")+"T00:00:00Z" {
		t.Errorf("started %v, got %+v", queue.ids, got)
	}
	if text, err := resume(`{"catch_up":"last"}`); err != nil || len(queue.ids) != 1 {
		t.Errorf("a trigger that is not paused: got %s, %v, started %v", text, err, queue.ids)
	}

	// All of 30 days run, the oldest first, but not the last one again.
	queue.ids, queue.groups = nil, nil
	pause(time.Now().Add(-30*24*time.Hour - time.Hour))
	if _, err := resume(`{"catch_up":"all"}`); err != nil || len(queue.ids) < 29 || !slices.IsSorted(events(t, queue.ids)) {
		t.Errorf("started %v, %v", events(t, queue.ids), err)
	}
	if groups := slices.Compact(queue.groups); !slices.Equal(groups, []string{b.trigger.ID}) {
		t.Errorf("the groups are %v", groups)
	}
}

// events returns the events of runs.
func events(t *testing.T, ids []string) (list []string) {
	t.Helper()
	for _, id := range ids {
		key, ok := run.ParseID(id)
		if !ok {
			t.Errorf("%q is no ID", id)
		}
		list = append(list, key.Event)
	}
	return list
}
