package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/domain/trigger"
)

// putEvents is an HTTP client that notes which lifecycle events are put.
type putEvents struct {
	mu   sync.Mutex
	seen []string
}

func (p *putEvents) Do(request *http.Request) (*http.Response, error) {
	if strings.HasSuffix(request.Header.Get("X-Amz-Target"), ".PutEvents") {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		request.Body = io.NopCloser(bytes.NewReader(body))
		var put struct {
			Entries []struct{ DetailType string }
		}
		if err := json.Unmarshal(body, &put); err != nil {
			return nil, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, entry := range put.Entries {
			p.seen = append(p.seen, entry.DetailType)
		}
	}
	return http.DefaultClient.Do(request)
}

func TestAnnounce_PutsOneEventForEachChangeOfStatus(t *testing.T) {
	t.Parallel()
	cfg, bus := mototest.Config(t), &putEvents{}
	cfg.HTTPClient = bus
	b := newBundle(t, cfg)
	id := uuid.NewString()
	// image is a row with that status; message is the error_message, which each
	// failed call of a container changes.
	image := func(status trigger.Status, message string) map[string]events.DynamoDBAttributeValue {
		return map[string]events.DynamoDBAttributeValue{
			"id": events.NewStringAttribute(id), "container_id": events.NewStringAttribute(uuid.NewString()), "status": events.NewStringAttribute(string(status)),
			"error_message": events.NewStringAttribute(message),
			"generation":    events.NewNumberAttribute("1"), "observed_generation": events.NewNumberAttribute("1"),
		}
	}
	paused := func(status trigger.Status) map[string]events.DynamoDBAttributeValue {
		row := image(status, "")
		row["paused_at"] = events.NewStringAttribute("2026-11-26T12:00:00.000000Z")
		return row
	}
	for _, change := range []struct {
		name          string
		before, after map[string]events.DynamoDBAttributeValue
		want          []string
	}{
		{"it is created", nil, image(trigger.Creating, ""), nil},
		{"it becomes ready", image(trigger.Creating, ""), image(trigger.Ready, ""), []string{"Trigger Ready"}},
		{"its error_message changes", image(trigger.Ready, ""), image(trigger.Ready, "the container answered with 503"), nil},
		{"its error_message goes", image(trigger.Ready, "the container answered with 503"), image(trigger.Ready, ""), nil},
		{"it is updated", image(trigger.Ready, ""), image(trigger.Updating, ""), nil},
		{"the update fails", image(trigger.Updating, ""), image(trigger.Error, "no queue"), []string{"Trigger Error"}},
		{"it fails in another way", image(trigger.Error, "no queue"), image(trigger.Error, "no permission"), nil},
		{"it heals", image(trigger.Error, "no permission"), image(trigger.Ready, ""), []string{"Trigger Ready"}},
		{"it breaks", image(trigger.Ready, ""), image(trigger.Error, "no queue"), []string{"Trigger Error"}},
		{"it is paused", image(trigger.Ready, ""), paused(trigger.Ready), []string{"Trigger Paused"}},
		{"it stays paused", paused(trigger.Ready), paused(trigger.Ready), nil},
		{"it is resumed", paused(trigger.Ready), image(trigger.Ready, ""), []string{"Trigger Resumed"}},
		{"it is created paused", nil, paused(trigger.Creating), []string{"Trigger Paused"}},
		{"it becomes ready paused", paused(trigger.Creating), paused(trigger.Ready), []string{"Trigger Ready"}},
		{"its deletion begins", image(trigger.Error, "no queue"), image(trigger.Deleting, ""), nil},
		{"it is gone", image(trigger.Deleting, ""), nil, []string{"Trigger Deleted"}},
		{"it appears settled, in a table that was restored", nil, image(trigger.Ready, ""), []string{"Trigger Ready"}},
	} {
		bus.seen = nil
		if failed := b.handleRecords(b.record(id, maps.Clone(change.before), maps.Clone(change.after))); failed > 0 {
			t.Errorf("%s: the record was given back", change.name)
		}
		if !slices.Equal(bus.seen, change.want) {
			t.Errorf("%s: got %q, want %q", change.name, bus.seen, change.want)
		}
	}
}
