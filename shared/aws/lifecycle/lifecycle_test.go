package lifecycle_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// recorder is an EventBridge that notes what is put and gives the same answer to
// each request.
func recorder(t *testing.T, answer string) (bus lifecycle.Bus, put <-chan []byte) {
	t.Helper()
	requests := make(chan []byte, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		requests <- body
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	client := eventbridge.New(eventbridge.Options{
		Region: "us-east-1", BaseEndpoint: &server.URL, Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{},
	})
	return lifecycle.Bus{Client: client, Name: "bus"}, requests
}

func sample() trigger.Trigger {
	return trigger.Trigger{
		ID: "8f5d9521-e950-41e0-b980-b85131050aff", Name: "nightly", Region: "fr-par", ContainerID: "0e5a1a7e-7a0c-4e0b-9f0e-0f2c3f6f0a11",
		Owner:  auth.Owner{OrganizationID: "6e0b7d6c-6f0e-4f5e-8d3e-1e0c9f6a2b33", ProjectID: "3c7de0c4-51a1-4a43-9c53-9e9d1a4a5c22"},
		Status: trigger.Ready, Cron: &trigger.Cron{Schedule: "0 3 * * *", Timezone: "UTC"},
	}
}

func TestBus_PutsTheEventsOfTheContract(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	changed := sample().ChangedBy(auth.Principal{AccessKey: "SCWXXXXXXXXXXXXXXXXX"}.Change(auth.Update, at))
	failed := sample()
	failed.Status, failed.ErrorMessage = trigger.Error, "the queue does not exist"
	for file, announce := range map[string]func(lifecycle.Bus) error{
		"trigger-ready":   func(b lifecycle.Bus) error { return b.StatusChanged(t.Context(), sample()) },
		"trigger-error":   func(b lifecycle.Bus) error { return b.StatusChanged(t.Context(), failed) },
		"trigger-deleted": func(b lifecycle.Bus) error { return b.Deleted(t.Context(), sample()) },
		"trigger-changed": func(b lifecycle.Bus) error { return b.Changed(t.Context(), changed) },
		"trigger-run-failed": func(b lifecycle.Bus) error {
			its := run.Run{Key: run.Key{TriggerID: sample().ID, Event: "2026-11-23T03:00:00Z"}, ScheduledAt: at}
			return b.RunFailed(t.Context(), sample(), its, "the container answered with 503")
		},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			bus, put := recorder(t, `{"FailedEntryCount":0,"Entries":[{"EventId":"1"}]}`)
			if err := announce(bus); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", file+".json"), entries(t, <-put))
		})
	}
}

// entries are the entries of a PutEvents request, with their details as JSON.
func entries(t *testing.T, request []byte) any {
	t.Helper()
	var events struct{ Entries []map[string]any }
	if err := json.Unmarshal(request, &events); err != nil {
		t.Fatalf("%v of %s", err, request)
	}
	for _, entry := range events.Entries {
		detail, _ := entry["Detail"].(string)
		entry["Detail"] = json.RawMessage(detail)
	}
	return events.Entries
}

func golden(t *testing.T, path string, value any) {
	t.Helper()
	got, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %s", path, got)
	}
}

func TestBus_FailedEntryIsAnError(t *testing.T) {
	t.Parallel()
	bus, put := recorder(t, `{"FailedEntryCount":1,"Entries":[{"ErrorCode":"ThrottlingException","ErrorMessage":"slow down"}]}`)
	err := bus.Deleted(t.Context(), sample())
	<-put
	if err == nil || !strings.Contains(err.Error(), "Trigger Deleted") || !strings.Contains(err.Error(), "ThrottlingException: slow down") {
		t.Errorf("got %v", err)
	}
}
