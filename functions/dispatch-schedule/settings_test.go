package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"containertriggers/shared/domain/cron"
	"containertriggers/shared/domain/trigger"
)

// EventBridge Scheduler decides when a schedule fires: its release of the time zone
// database may be newer than ours.
func TestHandle_CallsAtTimesThatOurCalendarDoesNotExpect(t *testing.T) {
	t.Parallel()
	for name, shift := range map[string]time.Duration{"an hour early": -time.Hour, "an hour late": time.Hour, "a day late": 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, http.StatusOK)
			b.patch(`{"cron_config":{"timezone":"Africa/Casablanca"}}`)
			b.settle(due.Add(-time.Hour))
			o := b.fire()
			o.ScheduledTime = due.Add(shift)
			if err := b.deliverOccurrence("run", o); err != nil {
				t.Error(err)
			}
			b.expectCalls(1)
		})
	}
}

func TestHandle_CallsOnlyForThePresentSchedule(t *testing.T) {
	t.Parallel()
	const other = `{"cron_config":{"schedule":"0 10 * * 1-5"}}` // due at the same minute
	for name, test := range map[string]struct {
		patches []string
		settled bool
		legacy  bool // the schedule was made before it carried its settings
		want    int64
	}{
		"unchanged":                                 {nil, true, false, 1},
		"another schedule":                          {[]string{other}, true, false, 0},
		"another schedule, not yet applied":         {[]string{other}, false, false, 0},
		"another schedule and back":                 {[]string{other, `{"cron_config":{"schedule":"0 10 * * *"}}`}, false, false, 1},
		"another zone":                              {[]string{`{"cron_config":{"timezone":"Europe/London"}}`}, true, false, 0},
		"another notation":                          {[]string{`{"cron_config":{"schedule":"00 10 1-31 1-12 *"}}`}, true, false, 1},
		"another body":                              {[]string{`{"cron_config":{"body":"new"}}`}, false, false, 1},
		"another name":                              {[]string{`{"name":"new"}`}, false, false, 1},
		"legacy, unchanged":                         {nil, true, true, 1},
		"legacy, another schedule":                  {[]string{other}, true, true, 0},
		"legacy, another schedule, not yet applied": {[]string{other}, false, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, http.StatusOK)
			inFlight := b.fire()
			if test.legacy {
				inFlight.Schedule, inFlight.Timezone = "", ""
			}
			for _, patch := range test.patches {
				b.patch(patch)
			}
			if test.settled && test.patches != nil {
				b.settle(due.Add(time.Second))
			}
			if err := b.deliverOccurrence("in flight", inFlight); err != nil {
				t.Error(err)
			}
			b.expectCalls(test.want)
			if got := b.message(); got != "" {
				t.Errorf("got message %q for what the owner changed just now", got)
			}
			// The present schedule's firing of the same minute is called, once.
			if err := b.deliverOccurrence("present", b.fire()); err != nil {
				t.Error(err)
			}
			b.expectCalls(1)
		})
	}
}

func TestHandle_CallsOnTheDaysThatPassTheFilter(t *testing.T) {
	t.Parallel()
	for schedule, want := range map[string]int64{ // on Monday 23 November
		"0 10 */2 * 1": 1,
		"0 10 */3 * 1": 0,
	} {
		b := setup(t, http.StatusOK)
		b.patch(`{"cron_config":{"schedule":"` + schedule + `"}}`)
		o := b.fire()
		o.Filter = cron.FilterDayOfMonth
		if err := b.deliverOccurrence("run", o); err != nil {
			t.Error(err)
		}
		b.expectCalls(want)
	}
}

// It sets the logger that all have: it must not be parallel.
func TestHandle_ReportsOccurrencesThatItDoesNotCall(t *testing.T) {
	other := func(o *trigger.Occurrence) { o.Schedule = "0 9 * * *" }
	for name, test := range map[string]struct {
		change  func(b *testBundle)
		edit    func(o *trigger.Occurrence)
		warns   bool
		message string // the trigger's
	}{
		"drifted long since": {func(*testBundle) {}, other, true, "no call was made at 2026-11-23T10:00:00Z: the schedule in EventBridge Scheduler differs"},
		"changed just now":   {func(b *testBundle) { b.patch(`{"cron_config":{"schedule":"1 10 * * *"}}`); b.settle(due) }, nil, true, ""},
		"being deleted": {func(b *testBundle) {
			if _, err := b.resolver.Triggers.MarkDeleting(t.Context(), b.trigger.ID); err != nil {
				t.Fatal(err)
			}
		}, nil, true, ""},
		"delivered before": {func(b *testBundle) {
			if err := b.deliver("before"); err != nil {
				t.Fatal(err)
			}
		}, nil, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t, http.StatusOK)
			o := b.fire()
			test.change(b)
			calls := b.calls.Load()
			if test.edit != nil {
				test.edit(&o)
			}
			var lines bytes.Buffer
			before := slog.Default()
			defer slog.SetDefault(before)
			slog.SetDefault(slog.New(slog.NewJSONHandler(&lines, nil)))
			if err := b.deliverOccurrence("run", o); err != nil {
				t.Error(err)
			}
			b.expectCalls(calls)
			warned, counted := 0, 0
			for line := range strings.Lines(lines.String()) {
				var entry struct {
					Level, Stack, Reason string
					TriggerID            string `json:"trigger_id"`
					NotCalled            int
				}
				if err := json.Unmarshal([]byte(line), &entry); err != nil {
					t.Fatal(err)
				}
				if entry.Level == "WARN" && entry.Reason != "" && entry.TriggerID == b.trigger.ID {
					warned++
				}
				if entry.Stack == "a-stack" {
					counted += entry.NotCalled
				}
			}
			if want := map[bool]int{true: 1}[test.warns]; warned != want || counted != want {
				t.Errorf("warned %d times and counted %d, want %d: %s", warned, counted, want, lines.String())
			}
			if got := b.message(); (got == "") != (test.message == "") || !strings.HasPrefix(got, test.message) {
				t.Errorf("got message %q, want %q", got, test.message)
			}
			if test.message != "" {
				if err := b.deliverOccurrence("next", b.fire()); err != nil {
					t.Error(err)
				}
				if got := b.message(); got != "" {
					t.Errorf("got message %q after a call", got)
				}
			}
		})
	}
}
