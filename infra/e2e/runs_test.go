package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"containertriggers/shared/domain/auth"
)

// runs returns the pages of a list of runs, one after the other.
func (b *testBundle) runs(query url.Values) (all []map[string]any) {
	b.t.Helper()
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

// inState returns the IDs of the runs in a state.
func inState(runs []map[string]any, state string) (ids []string) {
	for _, one := range runs {
		if one["state"] == state {
			ids = append(ids, one["id"].(string))
		}
	}
	return ids
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
			return len(all) >= n && len(inState(all, "succeeded")) == len(all)
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
