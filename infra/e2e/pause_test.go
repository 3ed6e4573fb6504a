package e2e

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"

	"containertriggers/shared/aws/store"
)

// pause pauses a trigger and waits until its source is paused. It returns the answer.
func (b *testBundle) pause(id string) response {
	b.t.Helper()
	r := b.do(http.MethodPost, regional+"/triggers/"+id+"/pause", `{"reason":"maintenance"}`, nil)
	if message, _ := r.body["error_message"].(string); r.status != http.StatusOK || r.body["status"] != "ready" || r.body["pause_reason"] != "maintenance" ||
		r.body["paused_at"] == nil || !strings.HasPrefix(message, "paused since ") || !strings.Contains(message, ": maintenance") {
		b.t.Fatalf("pausing: %d %s", r.status, r.text)
	}
	b.settled(id)
	return r
}

// resume ends the pause of a trigger and waits until its source works.
func (b *testBundle) resume(id, body string) {
	b.t.Helper()
	r := b.do(http.MethodPost, regional+"/triggers/"+id+"/resume", body, nil)
	if r.status != http.StatusOK || r.body["paused_at"] != nil || r.body["error_message"] != "" {
		b.t.Fatalf("resuming: %d %s", r.status, r.text)
	}
	b.settled(id)
}

func (b *testBundle) triggers() store.Triggers {
	return store.Triggers{Client: dynamodb.NewFromConfig(b.AWSConfig()), Table: b.Function("get-trigger").Environment["TRIGGERS_TABLE"]}
}

// settled waits until a trigger's source matches its row.
func (b *testBundle) settled(id string) {
	b.t.Helper()
	b.eventually("the source follows", func() bool {
		found, err := b.triggers().Get(b.t.Context(), id)
		return err == nil && found.Settled()
	})
}

// runNow runs a trigger and expects the call.
func (b *testBundle) runNow(id string) {
	b.t.Helper()
	const body = "by hand"
	r := b.do(http.MethodPost, regional+"/triggers/"+id+"/run", `{"body":"`+body+`"}`, nil)
	if r.status != http.StatusOK || r.body["state"] != "succeeded" {
		b.t.Errorf("a run while paused: got %d %s", r.status, r.text)
	}
	if got := b.nextCall(); got.body != body {
		b.t.Errorf("got %+v", got)
	}
}

func TestPause_OfACronTrigger(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.createCron("minutely", "* * * * *", "UTC")
	b.wait(created.ID)
	first := b.pause(created.ID)
	if again := b.do(http.MethodPost, regional+"/triggers/"+created.ID+"/pause", `{"reason":"another"}`, nil); again.text != first.text {
		t.Errorf("a second pause: got %s, want %s", again.text, first.text)
	}
	// What stock clients send leaves the pause alone, and they read what they know.
	description := "updated while paused"
	if updated, err := b.api.UpdateTrigger(&container.UpdateTriggerRequest{TriggerID: created.ID, Description: &description}); err != nil || updated.Status != container.TriggerStatusReady {
		t.Errorf("got %+v, %v", updated, err)
	}
	b.settled(created.ID)
	next := b.do(http.MethodGet, regional+"/triggers/"+created.ID+"/next-runs", "", nil)
	if runs, _ := next.body["next_runs"].([]any); next.status != http.StatusOK || len(runs) != 0 {
		t.Errorf("the next runs are %d %s", next.status, next.text)
	}
	b.runNow(created.ID)
	for range 3 {
		b.nextMinute()
	}
	if all := b.runs(url.Values{"trigger_id": {created.ID}, "origins": {"schedule"}}); len(all) != 0 {
		t.Errorf("a paused trigger has the runs %v", all)
	}
	b.resume(created.ID, `{}`)
	b.eventually("the schedule fires again", func() bool {
		b.nextMinute()
		return succeeded(b.runs(url.Values{"trigger_id": {created.ID}, "origins": {"schedule"}})) > 0
	})
}

func TestPause_OfAQueueTrigger(t *testing.T) {
	t.Parallel()
	b := setup(t)
	q := b.createQueue(map[string]string{"VisibilityTimeout": "900"})
	id := b.createSQS("queue", q.config()).ID
	b.expectReady(id)
	q.send("before", nil)
	if got := b.nextCall(); got.body != "before" {
		t.Fatalf("got %+v", got)
	}
	b.pause(id)
	q.awaitState("Disabled")
	b.runNow(id)
	b.resume(id, `{}`)
	q.awaitState("Enabled") // a receive that is under way while a mapping stops may hide a message
	q.send("after", nil)
	if got := b.nextCall(); got.body != "after" {
		t.Errorf("got %+v", got)
	}
	// It can be deleted while it is paused.
	b.pause(id)
	b.delete(id)
}

func TestPause_KeepsTheMessagesOfAStream(t *testing.T) {
	t.Parallel()
	b := setup(t)
	subject := "s" + strings.ReplaceAll(uuid.NewString(), "-", "")
	js, err := jetstream.New(b.connect(b.NATSURL()))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: subject, Subjects: []string{subject}})
	if err != nil {
		t.Fatal(err)
	}
	send := func(body string) {
		if _, err := js.Publish(t.Context(), subject, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	id := b.createNATS("stream", b.NATSURL(), subject).ID
	b.expectReady(id)
	send("before")
	if got := b.nextCall(); got.body != "before" {
		t.Fatalf("got %+v", got)
	}
	b.pause(id)
	send("during")
	b.runNow(id)
	b.resume(id, `{}`)
	if got := b.nextCall(); got.body != "during" {
		t.Errorf("got %+v", got)
	}
	b.pause(id)
	b.delete(id)
	consumers := stream.ListConsumers(t.Context())
	for consumer := range consumers.Info() {
		t.Errorf("the deletion of a paused trigger left the consumer %s", consumer.Name)
	}
}

func TestCreate_APausedTriggerHasNoSourceUntilItIsResumed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.do(http.MethodPost, regional+"/triggers", `{"name":"paused","container_id":"`+b.containerID+`","cron_config":{"schedule":"* * * * *"},"paused":true}`, nil)
	id, _ := r.body["id"].(string)
	if r.status != http.StatusOK || r.body["paused_at"] == nil {
		t.Fatalf("got %d %s", r.status, r.text)
	}
	b.wait(id)
	for range 3 {
		b.nextMinute()
	}
	b.runNow(id) // the next call: the schedule has made none
	b.pausedEarlier(id, time.Hour)
	b.resume(id, `{"catch_up":"last"}`)
	of := func(origin string) int { return succeeded(b.runs(url.Values{"trigger_id": {id}, "origins": {origin}})) }
	b.eventually("the last occurrence of the pause has run", func() bool { return of("catch_up") == 1 })
	b.eventually("the schedule fires", func() bool {
		b.nextMinute()
		return of("schedule") > 0
	})
}

// pausedEarlier lets the pause of a trigger begin earlier. Only the clock of the schedules moves
// in tests.
func (b *testBundle) pausedEarlier(id string, by time.Duration) {
	b.t.Helper()
	current, err := b.triggers().Get(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	earlier := current
	earlier.PausedAt = earlier.PausedAt.Add(-by)
	earlier.Generation++
	if _, err := b.triggers().Update(b.t.Context(), current, earlier); err != nil {
		b.t.Fatal(err)
	}
	b.settled(id)
}

func TestResume_CatchesUpAllOccurrencesInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.createCron("yearly", "* 3 1 1 *", "UTC")
	b.wait(created.ID)
	b.pause(created.ID)
	path := regional + "/triggers/" + created.ID + "/resume"
	b.pausedEarlier(created.ID, 18*366*24*time.Hour) // 18 first days of a year, of 60 minutes each
	if r := b.do(http.MethodPost, path, `{"catch_up":"all"}`, nil); r.status != http.StatusBadRequest || !strings.Contains(r.text, "1000 occurrences") {
		t.Errorf("more than can be caught up: %d %s", r.status, r.text)
	}
	b.pausedEarlier(created.ID, -17*366*24*time.Hour)
	b.resume(created.ID, `{"catch_up":"all"}`)
	caughtUp := url.Values{"trigger_id": {created.ID}, "origins": {"catch_up"}}
	b.eventually("all have run", func() bool { return succeeded(b.runs(caughtUp)) == 60 })
	var times []string
	for range 60 {
		times = append(times, b.nextCall().header.Get("Ce-Time"))
	}
	if !slices.IsSorted(times) || len(slices.Compact(times)) != 60 || len(b.calls) > 0 {
		t.Errorf("the calls were for %v, and %d more", times, len(b.calls))
	}
	if r := b.do(http.MethodPost, path, `{"catch_up":"all"}`, nil); r.status != http.StatusOK || len(b.calls) > 0 {
		t.Errorf("a second resume: %d %s", r.status, r.text)
	}
}
