package trigger_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

func TestNewRun_TakesWhatTheBodyDoesNotGiveFromTheTrigger(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 8, 0, 1, 5, time.UTC)
	of := trigger.Trigger{
		ID: uuid.NewString(), ContainerID: uuid.NewString(), Region: "fr-par", Owner: auth.Owner{OrganizationID: "o", ProjectID: "p"},
		Destination: trigger.Destination{HTTPMethod: "put", HTTPPath: "/jobs?x=1"},
	}
	cron := of
	cron.Cron = &trigger.Cron{Schedule: "@daily", Timezone: "UTC", Body: "{}", Headers: map[string]string{"X-Job": "nightly"}}
	for body, want := range map[string]struct {
		of      trigger.Trigger
		request run.Request
		wait    time.Duration
	}{
		`{}`:  {cron, run.Request{HTTPMethod: "PUT", HTTPPath: "/jobs?x=1", Headers: map[string]string{"X-Job": "nightly"}, Body: "{}"}, 20 * time.Second},
		` {}`: {of, run.Request{HTTPMethod: "PUT", HTTPPath: "/jobs?x=1", Headers: map[string]string{}}, 20 * time.Second},
		`{"body":"b","headers":{"A":"1"},"http_path":"/p","http_method":"get","wait":"1.5s"}`: {
			cron, run.Request{HTTPMethod: "GET", HTTPPath: "/p", Headers: map[string]string{"A": "1"}, Body: "b"}, 1500 * time.Millisecond,
		},
		`{"body":"","headers":{},"wait":"0s"}`: {cron, run.Request{HTTPMethod: "PUT", HTTPPath: "/jobs?x=1", Headers: map[string]string{}}, 0},
	} {
		got, wait, err := want.of.NewRun([]byte(body), "id", now)
		if err != nil || wait != want.wait || !reflect.DeepEqual(*got.Request, want.request) {
			t.Errorf("%s: got %+v, %v, %v", body, got.Request, wait, err)
		}
		const event = "2026-11-25T08:00:01Z/id"
		if got.Key != (run.Key{TriggerID: of.ID, Event: event}) || got.EventID != of.ID+"/"+event || got.Origin != run.Manual || got.Owner != of.Owner ||
			got.ContainerID != of.ContainerID || got.Region != "fr-par" || !got.ScheduledAt.Equal(now.Truncate(time.Microsecond)) {
			t.Errorf("%s: got %+v", body, got)
		}
		if parsed, ok := run.ParseID(got.ID()); !ok || parsed != got.Key {
			t.Errorf("%s: its ID is %q", body, got.ID())
		}
	}
}

func TestNewRun_NamesEveryFault(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"wait":"21s"}`:  "wait constraint",
		`{"wait":"soon"}`: "wait format",
		`{"wait":20}`:     "wait format",
		`{"bdoy":"x","http_path":"//x","http_method":"trace","headers":{"a b":""},"body":1}`: "bdoy unknown, body format, headers format, http_method constraint, http_path format",
		``: "body format",
	} {
		_, _, err := trigger.Trigger{}.NewRun([]byte(body), "id", time.Now())
		if got := strings.Join(faultsOf(t, err), ", "); got != want {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
	}
	if _, err := trigger.ParseReplay([]byte(`{"wait":"1s","body":"x"}`)); strings.Join(faultsOf(t, err), ", ") != "body unknown" {
		t.Errorf("got %v", err)
	}
}
