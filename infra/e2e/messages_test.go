package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// flaky makes the tenant's container one that refuses each body that many times.
func (b *testBundle) flaky(times int) {
	b.t.Helper()
	var mu sync.Mutex
	refused := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		id := r.Header.Get("Ce-Id")
		if refused[id]++; refused[id] <= times {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, "refused %d", refused[id])
		}
	}))
	b.t.Cleanup(server.Close)
	b.containerID = b.createContainer(map[string]any{"name": "flaky", "public_endpoint": server.URL})
}

// details returns a run with its attempts.
func (b *testBundle) details(run map[string]any) map[string]any {
	b.t.Helper()
	r := b.do(http.MethodGet, regional+"/trigger-runs/"+run["id"].(string), "", nil)
	if r.status != http.StatusOK {
		b.t.Fatalf("got %d %s", r.status, r.text)
	}
	return r.body
}

// onlyRun waits until the trigger has a run, which is in a state, and returns it.
func (b *testBundle) onlyRun(triggerID, state string) (details map[string]any) {
	b.t.Helper()
	b.eventually("the trigger has a run that is "+state, func() bool {
		all := b.runs(url.Values{"trigger_id": {triggerID}})
		if len(all) != 1 || all[0]["state"] != state {
			return false
		}
		details = b.details(all[0])
		return true
	})
	return details
}

// showAttempts checks the run of a message that the container refuses twice. Start creates a
// trigger, and returns what sends the message "body" to it.
func showAttempts(t *testing.T, start func(*testBundle) (id string, send func())) {
	t.Helper()
	b := setup(t)
	b.flaky(2)
	id, send := start(b)
	b.expectReady(id)
	send()
	done := b.onlyRun(id, "succeeded")
	if done["origin"] != "message" || done["attempts"] != 3.0 || done["http_status"] != 200.0 || done["error_message"] != "" || done["trigger_id"] != id {
		t.Errorf("the run is %v", done)
	}
	attempts := done["attempt_details"].([]any)
	if len(attempts) != 3 {
		t.Fatalf("got %v", attempts)
	}
	for i, attempt := range attempts[:2] {
		a := attempt.(map[string]any)
		if a["http_status"] != 503.0 || a["response_body"] != fmt.Sprint("refused ", i+1) || a["error"] != "the container answered 503 Service Unavailable" || a["manual"] != false {
			t.Errorf("attempt %d is %v", i+1, a)
		}
	}
	if request := done["request"].(map[string]any); request["body"] != "body" || request["truncated"] != false {
		t.Errorf("the request is %v", request)
	}
	b.delete(id)
}

func TestRuns_ShowEachAttemptOfAMessageOfAQueue(t *testing.T) {
	t.Parallel()
	showAttempts(t, func(b *testBundle) (string, func()) {
		q := b.createQueue(nil)
		return b.createSQS("orders", q.config()).ID, func() { q.send("body", nil) }
	})
}

func TestRuns_ShowEachAttemptOfAMessageOfAForeignQueue(t *testing.T) {
	t.Parallel()
	showAttempts(t, func(b *testBundle) (string, func()) {
		q := b.elsewhere()
		return b.createSQS("orders", q.config()).ID, func() { q.send("body", nil) }
	})
}

func TestRuns_ShowEachAttemptOfAMessageOnASubject(t *testing.T) {
	t.Parallel()
	showAttempts(t, func(b *testBundle) (string, func()) {
		subject := "s" + strings.ReplaceAll(uuid.NewString(), "-", "")
		conn := b.connect(b.NATSURL())
		return b.createNATS("orders", b.NATSURL(), subject).ID, func() { b.publish(conn, &nats.Msg{Subject: subject, Data: []byte("body")}) }
	})
}

func TestRuns_ShowEachAttemptOfAMessageOfAStream(t *testing.T) {
	t.Parallel()
	showAttempts(t, func(b *testBundle) (string, func()) {
		id, send := b.createStream()
		return id, func() { send("body") }
	})
}

// createStream creates a stream, and a trigger for its messages. It returns what publishes a
// message.
func (b *testBundle) createStream() (id string, publish func(body string)) {
	b.t.Helper()
	name := "S" + strings.ReplaceAll(uuid.NewString(), "-", "")
	js, err := jetstream.New(b.connect(b.NATSURL()))
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := js.CreateStream(b.t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name}}); err != nil {
		b.t.Fatal(err)
	}
	return b.createNATS("stream", b.NATSURL(), name).ID, func(body string) {
		if _, err := js.Publish(b.t.Context(), name, []byte(body)); err != nil {
			b.t.Error(err)
		}
	}
}

// What no source keeps is a failed run. A replay sends the same event.
func TestRuns_KeepAMessageThatNATSDoesNot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.setAnswer(http.StatusBadRequest)
	subject := "s" + strings.ReplaceAll(uuid.NewString(), "-", "")
	id := b.createNATS("orders", b.NATSURL(), subject+".>").ID
	b.expectReady(id)
	conn := b.connect(b.NATSURL())
	b.publish(conn, &nats.Msg{Subject: subject + ".eu", Data: []byte{0xff, 0}, Header: nats.Header{"Kind": {"a", "b"}}})
	failed := b.onlyRun(id, "failed")
	if failed["attempts"] != 4.0 || failed["replayable"] != true || failed["reason"] != "http_status" || failed["error_message"] != "the container answered 400 Bad Request" {
		t.Errorf("the run is %v", failed)
	}
	first := b.nextCall()
	for range 3 {
		b.nextCall()
	}
	request := failed["request"].(map[string]any)
	if request["subject"] != subject+".eu" || request["body"] != "" || request["body_base64"] != "/wA=" {
		t.Errorf("the request is %v", request)
	}
	if listed := b.runs(url.Values{}); !slices.ContainsFunc(listed, func(run map[string]any) bool { return run["id"] == failed["id"] }) {
		t.Errorf("the failed runs are %v", listed)
	}
	b.setAnswer(http.StatusOK)
	replayed := b.do(http.MethodPost, regional+"/trigger-runs/"+failed["id"].(string)+"/replay", `{}`, nil)
	again := b.nextCall()
	if replayed.body["state"] != "succeeded" || replayed.body["attempts"] != 5.0 {
		t.Errorf("got %d %s", replayed.status, replayed.text)
	}
	for _, name := range []string{"Ce-Id", "Ce-Subject", "Ce-Type", "Ce-Source"} {
		if first.header.Get(name) != again.header.Get(name) || again.header.Get(name) == "" {
			t.Errorf("%s: the replay has %q, the first call %q", name, again.header.Get(name), first.header.Get(name))
		}
	}
	if again.body != first.body || again.body != "\xff\x00" || again.header.Get("Kind") != "a, b" {
		t.Errorf("the replay was %q %v", again.body, again.header)
	}
	b.delete(id)
}

// A message goes to the queue's own dead-letter queue after its last delivery. Its run keeps it.
func TestRuns_FailWithTheLastDeliveryOfAQueue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.setAnswer(http.StatusBadRequest)
	q, dead := b.createQueue(nil), b.createQueue(nil)
	q.set("RedrivePolicy", fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":2}`, dead.arn))
	id := b.createSQS("orders", q.config()).ID
	b.expectReady(id)
	q.send("body", nil)
	failed := b.onlyRun(id, "failed")
	if failed["attempts"] != 2.0 || failed["replayable"] != true || failed["request"].(map[string]any)["body"] != "body" {
		t.Errorf("the run is %v", failed)
	}
	b.delete(id)
}

// A delivered message costs no write. The history can ask for all runs, or for none.
func TestHistory_SaysWhichRunsAreKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for history, kept := range map[string]int{"failures": 0, "all": 1, "none": 0} {
		q := b.createQueue(nil)
		created := b.createSQS(history, q.config())
		changed := b.do(http.MethodPatch, regional+"/triggers/"+created.ID, `{"tags":["delivery.history=`+history+`"]}`, nil)
		if got := fmt.Sprint(changed.body["delivery_config"]); got != "map[history:"+history+"]" {
			t.Errorf("got %d %s", changed.status, changed.text)
		}
		b.expectReady(created.ID)
		q.send("one", nil)
		if c := b.nextCall(); c.body != "one" {
			t.Errorf("got %q", c.body)
		}
		b.eventually("the message is gone", func() bool { return q.messages() == 0 })
		if got := b.runs(url.Values{"trigger_id": {created.ID}}); len(got) != kept {
			t.Errorf("%s: the runs are %v", history, got)
		}
		b.delete(created.ID)
	}
}
