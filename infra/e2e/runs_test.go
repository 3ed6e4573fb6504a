package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"containertriggers/shared/domain/auth"
)

// runs returns the pages of a list of runs, one after the other.
func (b *testBundle) runs(query url.Values) (all []map[string]any) {
	b.t.Helper()
	query = maps.Clone(query)
	for {
		page := b.do(http.MethodGet, regional+"/trigger-runs?"+query.Encode(), "", nil)
		if page.status != http.StatusOK {
			b.t.Fatalf("listing runs: %d %s", page.status, page.text)
		}
		for _, one := range page.body["trigger_runs"].([]any) {
			all = append(all, one.(map[string]any))
		}
		next, ok := page.body["next_page_token"].(string)
		if !ok {
			return all
		}
		query.Set("page_token", next)
	}
}

// succeeded returns how many of the runs have succeeded.
func succeeded(runs []map[string]any) (n int) {
	for _, one := range runs {
		if one["state"] == "succeeded" {
			n++
		}
	}
	return n
}

func TestRuns_ShowEachAttemptOfACronTrigger(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var mu sync.Mutex
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		calls++
		w.Header().Set("Content-Type", "text/plain")
		if calls == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(w, "call %d", calls)
	}))
	t.Cleanup(server.Close)
	b.containerID = b.createContainer(map[string]any{"name": "flaky", "public_endpoint": server.URL})
	created := b.createCron("minutely", "* * * * *", "UTC")
	b.wait(created.ID)

	ofTrigger := url.Values{"trigger_id": {created.ID}}
	for n := 1; n <= 3; n++ {
		b.nextMinute()
		b.eventually(fmt.Sprintf("%d runs have succeeded, and none is open", n), func() bool {
			all := b.runs(ofTrigger)
			return len(all) >= n && succeeded(all) == len(all)
		})
	}
	// A page of one run leads to the same runs.
	all := b.runs(ofTrigger)
	one := url.Values{"trigger_id": {created.ID}, "page_size": {"1"}, "created_before": {all[0]["scheduled_at"].(string)}}
	if paged := b.runs(one); len(paged) != len(all)-1 || !slices.EqualFunc(paged, all[1:], func(a, b map[string]any) bool { return a["id"] == b["id"] }) {
		t.Errorf("one by one, the runs are %v, and at once %v", paged, all)
	}
	first := b.do(http.MethodGet, regional+"/trigger-runs/"+all[len(all)-1]["id"].(string), "", nil)
	var failed map[string]any
	for _, run := range all {
		details := b.do(http.MethodGet, regional+"/trigger-runs/"+run["id"].(string), "", nil)
		attempts := details.body["attempt_details"].([]any)
		if len(attempts) == 2 {
			failed, first = attempts[0].(map[string]any), details
		}
	}
	if failed == nil || failed["http_status"] != 503.0 || failed["response_body"] != "call 1" || failed["retry_after"] != "1" ||
		failed["error"] != "the container answered 503 Service Unavailable" || failed["next_attempt_at"] == nil {
		t.Fatalf("the attempt that failed is %v, of %s", failed, first.text)
	}
	if got := first.body; got["state"] != "succeeded" || got["attempts"] != 2.0 || got["http_status"] != 200.0 || got["origin"] != "schedule" ||
		got["trigger_id"] != created.ID || got["container_id"] != b.containerID || got["error_message"] != "" {
		t.Errorf("the run is %s", first.text)
	}

	if last := b.do(http.MethodGet, regional+"/triggers/"+created.ID, "", nil).body["last_run"].(map[string]any); last["id"] == nil || last["http_status"] != 200.0 {
		t.Errorf("the trigger's last run is %v", last)
	}

	// Its own key opens a run, and no other one does.
	path := regional + "/trigger-runs/" + first.body["id"].(string)
	stranger := map[string]string{"X-Auth-Token": b.newKey(auth.Principal{OrganizationID: uuid.NewString(), PermissionSet: auth.FullAccess}, far())}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if r := b.do(method, path, "", stranger); r.status != http.StatusNotFound || r.body["resource"] != "trigger_run" {
			t.Errorf("%s by a stranger: got %d %s", method, r.status, r.text)
		}
	}
	// The position of a page opens nothing either.
	page := b.do(http.MethodGet, regional+"/trigger-runs?trigger_id="+created.ID+"&page_size=1", "", nil)
	token := page.body["next_page_token"].(string)
	if r := b.do(http.MethodGet, regional+"/trigger-runs?trigger_id="+created.ID+"&page_token="+token, "", stranger); r.text != `{"trigger_runs":[],"next_page_token":null}` {
		t.Errorf("a page of another's runs: got %d %s", r.status, r.text)
	}

	b.delete(created.ID)
	if r := b.do(http.MethodDelete, path, "", nil); r.status != http.StatusOK || r.body["id"] != first.body["id"] {
		t.Errorf("deleting a run: got %d %s", r.status, r.text)
	}
	if r := b.do(http.MethodGet, path, "", nil); r.status != http.StatusNotFound {
		t.Errorf("a deleted run: got %d %s", r.status, r.text)
	}
	if left := b.runs(ofTrigger); len(left) < len(all)-1 {
		t.Errorf("after the deletion of the trigger, %d of %d runs are left", len(left), len(all)-1)
	}
}

func TestRun_CallsNowAndAnswersWhatTheContainerAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.createCron("rare", "@yearly", "UTC")
	b.wait(created.ID)
	path := regional + "/triggers/" + created.ID + "/run"
	ran := b.do(http.MethodPost, path, `{"body":"now","headers":{"X-By":"hand"},"http_path":"/manual?x=1","http_method":"put"}`, nil)
	got := b.nextCall()
	if got.method != http.MethodPut || got.uri != "/manual?x=1" || got.body != "now" || got.header.Get("X-By") != "hand" || got.header.Get("Ce-Type") != "containertriggers.cron" {
		t.Errorf("the container got %+v", got)
	}
	if ran.status != http.StatusOK || ran.body["state"] != "succeeded" || ran.body["origin"] != "manual" || ran.body["http_status"] != 200.0 || ran.body["event_id"] != got.header.Get("Ce-Id") {
		t.Errorf("got %d %s", ran.status, ran.text)
	}

	// A run that fails is replayed as the same run, with the same request.
	b.setAnswer(http.StatusServiceUnavailable)
	failed := b.do(http.MethodPost, path, `{"body":"again"}`, nil)
	first := b.nextCall()
	if failed.body["state"] != "failed" || failed.body["reason"] != "http_status" || failed.body["error_message"] != "the container answered 503 Service Unavailable" {
		t.Fatalf("got %d %s", failed.status, failed.text)
	}
	b.setAnswer(http.StatusOK)
	id := failed.body["id"].(string)
	replayed := b.do(http.MethodPost, regional+"/trigger-runs/"+id+"/replay", `{}`, nil)
	second := b.nextCall()
	if replayed.body["id"] != id || replayed.body["state"] != "succeeded" || replayed.body["attempts"] != 2.0 || replayed.body["error_message"] != "" {
		t.Errorf("got %d %s", replayed.status, replayed.text)
	}
	if second.body != "again" || second.header.Get("Ce-Id") != first.header.Get("Ce-Id") || second.header.Get("Ce-Time") != first.header.Get("Ce-Time") {
		t.Errorf("the replay was %+v, the first call %+v", second, first)
	}
	for i, attempt := range replayed.body["attempt_details"].([]any) {
		if attempt := attempt.(map[string]any); attempt["manual"] != true || attempt["number"] != float64(i+1) {
			t.Errorf("attempt %d is %v", i+1, attempt)
		}
	}
	if succeeded(b.runs(url.Values{"trigger_id": {created.ID}, "origins": {"manual"}})) != 2 {
		t.Errorf("the runs are %v", b.runs(url.Values{"trigger_id": {created.ID}}))
	}

	if r := b.do(http.MethodPost, path, `{"wait":"1m"}`, nil); r.status != http.StatusBadRequest {
		t.Errorf("got %d %s", r.status, r.text)
	}
	b.delete(created.ID)
	if r := b.do(http.MethodPost, regional+"/trigger-runs/"+id+"/replay", `{}`, nil); r.status != http.StatusNotFound || r.body["resource"] != "trigger" {
		t.Errorf("a replay after the deletion: got %d %s", r.status, r.text)
	}
	if len(b.calls) > 0 {
		t.Errorf("%d further calls", len(b.calls))
	}
}

func TestRun_AnswersBeforeASlowContainerDoes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var calls atomic.Int64
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		<-release
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	b.containerID = b.createContainer(map[string]any{"name": "slow", "public_endpoint": server.URL})
	created := b.createNATS("slow", "nats://127.0.0.1:1", "s") // in error: its runs need no source
	ran := b.do(http.MethodPost, regional+"/triggers/"+created.ID+"/run", `{"wait":"0.1s","body":"b"}`, nil)
	if state := ran.body["state"]; ran.status != http.StatusOK || state != "queued" && state != "running" {
		t.Fatalf("got %d %s", ran.status, ran.text)
	}
	path := regional + "/trigger-runs/" + ran.body["id"].(string)
	b.eventually("the container is called", func() bool { return calls.Load() > 0 })
	// While it runs, a replay joins it, and nothing deletes it.
	if r := b.do(http.MethodPost, path+"/replay", `{"wait":"0s"}`, nil); r.status != http.StatusOK || r.body["state"] != "running" {
		t.Errorf("a replay of a running run: got %d %s", r.status, r.text)
	}
	if r := b.do(http.MethodDelete, path, "", nil); r.status != http.StatusConflict {
		t.Errorf("deleting a running run: got %d %s", r.status, r.text)
	}
	close(release)
	b.eventually("the run ends", func() bool { return b.do(http.MethodGet, path, "", nil).body["state"] == "succeeded" })
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}
