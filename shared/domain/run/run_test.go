package run_test

import (
	"encoding/json"
	"errors"
	"flag"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/run"
)

func TestState_FollowsTheTable(t *testing.T) {
	t.Parallel()
	for state, want := range map[run.State][]run.State{
		run.Queued:    {run.Queued, run.Running, run.Retrying, run.Succeeded, run.Failed},
		run.Running:   {run.Queued, run.Running, run.Retrying, run.Failed},
		run.Retrying:  {run.Running, run.Retrying, run.Failed},
		run.Succeeded: {run.Running, run.Retrying, run.Failed},
		run.Failed:    {run.Queued, run.Running, run.Retrying},
	} {
		if got := state.Before(); !slices.Equal(got, want) {
			t.Errorf("%s follows %v, want %v", state, got, want)
		}
		if got := state.Ended(); got != (state == run.Succeeded || state == run.Failed) {
			t.Errorf("%s has ended: %v", state, got)
		}
	}
}

func TestParseID_ReturnsTheKeyOfAnID(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := run.Key{
			TriggerID: rapid.StringMatching(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).Draw(t, "trigger"),
			Event:     rapid.StringMatching(`2026-1[0-2]-[0-2][1-8]T0[0-9]:00:00Z(/.{1,60})?`).Draw(t, "event"),
		}
		id := key.ID()
		if got, ok := run.ParseID(id); !ok || got != key {
			t.Errorf("%q: got %v, %v", id, got, ok)
		}
		if url.PathEscape(id) != id {
			t.Errorf("%q does not fit a path", id)
		}
	})
	for _, id := range []string{"", "x", "8f5d9521-e950-41e0-b980-b85131050aff", run.Key{TriggerID: "8f5d9521-e950-41e0-b980-b85131050aff"}.ID(), "j12VIelQQeC5gLhRMQUK_zI=", run.Key{TriggerID: trigger, Event: "2026-11-25T08:00:00Z" + strings.Repeat("x", 1024)}.ID()} {
		if got, ok := run.ParseID(id); ok {
			t.Errorf("%q: got %v", id, got)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("j12VIelQQeC5gLhRMQUK_zIwMjYtMTEtMjRUMDI6MDA6MDBa")
	f.Fuzz(func(t *testing.T, id string) {
		if key, ok := run.ParseID(id); ok && key.ID() != id {
			t.Errorf("%q is another ID of %v", id, key)
		}
	})
}

func TestAnswer_IsCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body, most := run.Text(rapid.SliceOf(rapid.Byte()).Draw(t, "body")), rapid.IntRange(0, 50).Draw(t, "most")
		got := run.Answer{Body: body}.Truncate(most)
		if !utf8.ValidString(got.Body) || len(got.Body) > most || !strings.HasPrefix(body, got.Body) || got.Truncated != (len(body) > most) || most-len(got.Body) >= utf8.UTFMax && got.Truncated {
			t.Errorf("%q became %+v", body, got)
		}
	})
}

var update = flag.Bool("update", false, "write the golden files")

// The golden files are the answers of the API, for a run that failed and then succeeded and
// for one that no delivery has begun.
func TestRun_HasTheFormOfTheContract(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	started := at.Add(1200 * time.Millisecond)
	owner := auth.Owner{OrganizationID: "o", ProjectID: "p"}
	base := run.Run{
		Key:         run.Key{TriggerID: "8f5d9521-e950-41e0-b980-b85131050aff", Event: "2026-11-25T08:00:00Z"},
		ContainerID: "9001700a-da3d-4d72-8ed0-53eb40ec2216", Region: "fr-par", Owner: owner, Origin: run.Schedule,
		EventID: "8f5d9521-e950-41e0-b980-b85131050aff/2026-11-25T08:00:00Z", ScheduledAt: at, ExpiresAt: at.Add(7 * 24 * time.Hour),
	}
	retried, notStarted := base, base
	retried.State, retried.StartedAt, retried.TerminatedAt, retried.Count = run.Succeeded, started, started.Add(2*time.Second), 2
	retried.Request = &run.Request{HTTPMethod: "POST", HTTPPath: "/jobs", Headers: map[string]string{"X-Job": "nightly"}, Body: "{}"}
	retried.Attempts = []run.Attempt{
		{
			StartedAt: started, Duration: 412 * time.Millisecond, HTTPStatus: 503, Reason: run.HTTPStatus, Error: "the container answered 503 Service Unavailable",
			Answer: run.Answer{Header: map[string]string{run.ContentType: "text/plain", run.RetryAfter: "1"}, Body: "later", Truncated: true}, NextAt: started.Add(time.Second),
		},
		{StartedAt: started.Add(time.Second), Duration: time.Second, HTTPStatus: 204},
	}
	notStarted.State, notStarted.Reason, notStarted.Message = run.Failed, run.NotStarted, "the service failed"
	notStarted.TerminatedAt, notStarted.ExpiresAt = at.Add(6*time.Hour), at.Add(run.FailedRetention)
	for name, answer := range map[string]any{"list": []run.Run{retried, notStarted}, "retried": retried.Details(), "not-started": notStarted.Details()} {
		got, err := json.MarshalIndent(answer, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		file := "testdata/" + name + ".json"
		if *update {
			if err := os.WriteFile(file, append(got, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != string(want) {
			t.Errorf("%s is\n%s", name, got)
		}
	}
}

const trigger = "8f5d9521-e950-41e0-b980-b85131050aff"

func TestParseQuery_ReadsEveryParameter(t *testing.T) {
	t.Parallel()
	position := run.Key{TriggerID: trigger, Event: "2026-11-25T08:00:00Z"}
	values, err := url.ParseQuery("trigger_id=" + strings.ToUpper(trigger) + "&states=failed,retrying&states=running&origins=schedule&created_after=2026-11-25T09:00:00%2B01:00" +
		"&created_before=2026-11-26T08:00:00Z&page_size=100&page_token=" + run.PageToken(position) + "&project_id=" + trigger + "&container_id=" + trigger)
	if err != nil {
		t.Fatal(err)
	}
	got, err := run.ParseQuery("fr-par", values)
	if err != nil {
		t.Fatal(err)
	}
	if got.TriggerID != trigger || !slices.Equal(got.States, []run.State{run.Failed, run.Retrying, run.Running}) || !slices.Equal(got.Origins, []run.Origin{run.Schedule}) ||
		!got.After.Equal(time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)) || !got.Before.Equal(time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)) ||
		got.PageSize != 100 || got.Position != position || !slices.Equal(got.ProjectIDs, []string{trigger}) || got.ContainerID != trigger || got.Region != "fr-par" {
		t.Errorf("got %+v", got)
	}
	if got, err := run.ParseQuery("fr-par", nil); err != nil || !slices.Equal(got.States, []run.State{run.Failed}) || got.PageSize != 20 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestParseQuery_NamesEveryFault(t *testing.T) {
	t.Parallel()
	of := "trigger_id=" + trigger + "&"
	for query, want := range map[string]string{
		"trigger_id=x":                    "trigger_id format",
		"states=succeeded":                "states constraint",
		of + "states=done,failed":         "states constraint",
		of + "origins=none":               "origins constraint",
		"created_after=yesterday":         "created_after format",
		"created_before=1":                "created_before format",
		"page_size=0&page_token=x":        "page_size constraint, page_token format",
		"page_size=101":                   "page_size constraint",
		of + "page_token=" + elsewhere():  "page_token format",
		"page=1&order_by=created_at_desc": "order_by unknown, page unknown",
		of + "trigger_id=" + trigger:      "trigger_id constraint",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = run.ParseQuery("fr-par", values)
		told, ok := errors.AsType[*apierr.Error](err)
		if !ok {
			t.Errorf("%s: got %v", query, err)
			continue
		}
		text, err := json.Marshal(told)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Details []struct {
				Name   string `json:"argument_name"`
				Reason string `json:"reason"`
			} `json:"details"`
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatal(err)
		}
		var faults []string
		for _, fault := range answer.Details {
			faults = append(faults, fault.Name+" "+fault.Reason)
		}
		if got := strings.Join(faults, ", "); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

// elsewhere is a page token of another trigger's runs.
func elsewhere() string {
	return run.PageToken(run.Key{TriggerID: strings.Replace(trigger, "8", "9", 1), Event: "2026-11-25T08:00:00Z"})
}
