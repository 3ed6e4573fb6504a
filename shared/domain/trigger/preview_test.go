package trigger_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/trigger"
)

// beforeSummer is shortly before the clock goes forward in Europe/Paris.
var beforeSummer = time.Date(2027, 3, 26, 12, 0, 0, 0, time.UTC)

func TestPreview_AnswersWordsAndTimes(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"schedule":"30 2 * * *","timezone":"Europe/Paris","count":2}`: `{"description":"at 02:30 every day, Europe/Paris","timezone":"Europe/Paris","next_runs":[` +
			`{"scheduled_at":"2027-03-27T01:30:00.000000Z","note":""},` +
			`{"scheduled_at":"2027-03-29T00:30:00.000000Z","note":"02:30 does not exist on 28 March 2027: not run"}]}`,
		`{"schedule":"@yearly","timezone":null,"count":1,"after":"2030-01-01T00:00:00+01:00"}`: `{"description":"at 00:00 on the 1st of the month in January, UTC","timezone":"UTC","next_runs":[` +
			`{"scheduled_at":"2030-01-01T00:00:00.000000Z","note":""}]}`,
	} {
		got, err := trigger.Preview([]byte(body), beforeSummer)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := json.Marshal(got); err != nil || string(text) != want {
			t.Errorf("%s: got %s, %v; want %s", body, text, err, want)
		}
	}
	got, err := trigger.Preview([]byte(`{"schedule":"@hourly"}`), beforeSummer)
	if err != nil || len(got.NextRuns) != 10 {
		t.Errorf("got %v, %v; want 10 runs", got, err)
	}
}

// faultsOf returns the names and reasons of an error's faults.
func faultsOf(t *testing.T, err error) (faults []string) {
	t.Helper()
	refused, ok := errors.AsType[*apierr.Error](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	for _, fault := range refused.Details.([]apierr.Argument) {
		faults = append(faults, fault.Name+" "+string(fault.Reason))
	}
	slices.Sort(faults)
	return faults
}

func TestPreview_NamesEveryFault(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{}`:                        "schedule required",
		`[]`:                        "body format",
		`{"schedule":""}`:           "schedule required",
		`{"schedule":"61 * * * *"}`: "schedule format",
		`{"schedule":1}`:            "schedule format",
		`{"schedule":"@daily","timezone":"Mars/Olympus","count":0,"after":"tomorrow"}`: "after format, count constraint, timezone format",
		`{"schedule":"@daily","count":101}`:                                            "count constraint",
		`{"schedule":"@daily","count":"1"}`:                                            "count format",
		`{"schedule":"@daily","after":"1969-12-31T23:59:59Z"}`:                         "after format",
		`{"schedule":"@daily","after":"2200-01-01T00:00:00Z"}`:                         "after format",
		`{"schedule":"@daily","time_zone":"UTC","Count":1}`:                            "Count unknown, time_zone unknown",
	} {
		_, err := trigger.Preview([]byte(body), beforeSummer)
		if got := strings.Join(faultsOf(t, err), ", "); got != want {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
	}
}

func TestCountOfNextRuns_NamesEveryFault(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]int{"": 10, "count=": 10, "count=1": 1, "count=100": 100} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := trigger.CountOfNextRuns(values); err != nil || got != want {
			t.Errorf("%q: got %d, %v", query, got, err)
		}
	}
	for query, want := range map[string]string{
		"count=0": "count constraint", "count=101": "count constraint", "count=-1": "count constraint", "count=ten": "count format",
		"count=1&count=2": "count constraint", "page=1&size=2": "page unknown, size unknown",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = trigger.CountOfNextRuns(values)
		if got := strings.Join(faultsOf(t, err), ", "); got != want {
			t.Errorf("%q: got %s, want %s", query, got, want)
		}
	}
}

func TestNextRuns_AreNoneWithoutASchedule(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trigger trigger.Trigger
		want    string
	}{
		"a queue":       {trigger.Trigger{SQS: &trigger.SQS{}}, `{"description":"","timezone":"","next_runs":[]}`},
		"being deleted": {trigger.Trigger{Cron: &trigger.Cron{Schedule: "@daily", Timezone: "UTC"}, Status: trigger.Deleting}, `{"description":"at 00:00 every day, UTC","timezone":"UTC","next_runs":[]}`},
	} {
		got, err := c.trigger.NextRuns(beforeSummer, 10)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := json.Marshal(got); err != nil || string(text) != c.want {
			t.Errorf("%s: got %s, %v; want %s", name, text, err, c.want)
		}
	}
}
