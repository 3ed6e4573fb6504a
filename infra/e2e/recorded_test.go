package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// exchange is one request and its answer, as recorded of the original API.
type exchange struct {
	Method, Path      string
	Request, Response json.RawMessage
	Status            int
}

// wireTime is the form of times that we answer.
var wireTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)

// TestAPI_AnswersRecordedTrafficLikeTheOriginal replays a cron trigger's whole
// life and compares each answer with the recorded one: the same fields in the same
// order, with the same values but for IDs and times. Only region and srn are not
// in the recording, for the original has added them since.
func TestAPI_AnswersRecordedTrafficLikeTheOriginal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	text, err := os.ReadFile("testdata/recorded-cron.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct{ Exchanges []exchange }
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	if len(recorded.Exchanges) == 0 {
		t.Fatal("nothing is recorded")
	}
	var created struct {
		ID          string `json:"id"`
		ContainerID string `json:"container_id"`
	}
	if err := json.Unmarshal(recorded.Exchanges[0].Response, &created); err != nil {
		t.Fatal(err)
	}
	ours := strings.NewReplacer(created.ContainerID, b.containerID)
	for i, e := range recorded.Exchanges {
		var got response
		send := func() { got = b.do(e.Method, ours.Replace(e.Path), ours.Replace(string(e.Request)), nil) }
		send()
		if i == 0 {
			ours = strings.NewReplacer(created.ContainerID, b.containerID, created.ID, got.body["id"].(string))
		}
		want := ours.Replace(string(e.Response))
		var fields map[string]any
		if err := json.Unmarshal([]byte(want), &fields); err != nil {
			t.Fatal(err)
		}
		if e.Method == http.MethodGet {
			if status, transient := fields["status"].(string); transient && status != "ready" {
				continue // passes by, here as there
			}
			b.eventually("exchange "+e.Method+" "+e.Path, func() bool {
				send()
				return got.status == e.Status && got.body["status"] == fields["status"]
			})
		}
		if got.status != e.Status {
			t.Fatalf("exchange %d, %s %s: got %d %s, want %d", i, e.Method, e.Path, got.status, got.text, e.Status)
		}
		if got.header.Get("Content-Type") != "application/json" || got.header.Get("X-Request-Id") == "" {
			t.Errorf("exchange %d: got headers %v", i, got.header)
		}
		compareTimes(t, i, got.body, fields)
		if e.Status == http.StatusOK {
			compareNames(t, i, got.body)
			delete(got.body, "last_run") // of GET alone
			for _, name := range extensions {
				delete(got.body, name)
			}
		}
		if !reflect.DeepEqual(got.body, fields) {
			t.Errorf("exchange %d, %s:\ngot  %s\nwant %s", i, e.Method, got.text, want)
		}
		names := slices.DeleteFunc(keys(t, got.text), func(name string) bool { return name == "last_run" })
		if e.Status == http.StatusOK && !slices.Equal(names, withNames(keys(t, want))) {
			t.Errorf("exchange %d: got the fields %v, want %v", i, names, withNames(keys(t, want)))
		}
	}
}

// compareTimes checks the form and the order of our times, and then takes them
// out of both answers.
func compareTimes(t *testing.T, i int, got, want map[string]any) {
	t.Helper()
	if _, timed := want["created_at"]; !timed {
		return
	}
	var parsed []time.Time
	for _, name := range []string{"created_at", "updated_at"} {
		text, _ := got[name].(string)
		if !wireTime.MatchString(text) {
			t.Errorf("exchange %d: got %s %q", i, name, text)
		}
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, at)
		delete(got, name)
		delete(want, name)
	}
	if parsed[1].Before(parsed[0]) {
		t.Errorf("exchange %d: updated before it was created", i)
	}
}

// compareNames checks the region and the srn of an answer, and then takes them out.
func compareNames(t *testing.T, i int, got map[string]any) {
	t.Helper()
	srn := fmt.Sprintf("srn://containers.127.0.0.1/regions/fr-par/triggers/%v", got["id"])
	if got["region"] != "fr-par" || got["srn"] != srn {
		t.Errorf("exchange %d: got region %v and srn %v, want %s", i, got["region"], got["srn"], srn)
	}
	delete(got, "region")
	delete(got, "srn")
}

// extensions are the fields that the original does not have.
var extensions = []string{"paused_at", "pause_reason", "next_run_at", "delivery_config"}

// withNames puts region and srn where the contract has them, which is after the times, and the
// extensions at the end.
func withNames(keys []string) []string {
	at := slices.Index(keys, "updated_at") + 1
	return append(slices.Insert(slices.Clone(keys), at, "region", "srn"), extensions...)
}

// keys are the names of an object's fields, in their order.
func keys(t *testing.T, object string) []string {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(object))
	if _, err := decoder.Token(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return names
}
