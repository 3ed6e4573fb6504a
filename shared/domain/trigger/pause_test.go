package trigger_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

var noon = time.Date(2026, 11, 26, 12, 0, 30, 0, time.UTC)

// minutely is a trigger that is ready.
func minutely() trigger.Trigger {
	return trigger.Trigger{
		ID: uuid.NewString(), ContainerID: uuid.NewString(), Region: "fr-par", Status: trigger.Ready, Generation: 3, UpdatedAt: noon.Add(-time.Hour),
		Destination: trigger.Destination{HTTPMethod: "post", HTTPPath: "/"}, Cron: &trigger.Cron{Schedule: "* * * * *", Timezone: "UTC", Body: "b"},
	}
}

// answer returns the fields of a trigger's answer that concern its pause.
func answer(t *testing.T, of trigger.Trigger) (message string, pausedAt *string, reason string) {
	t.Helper()
	text, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		ErrorMessage string  `json:"error_message"`
		PausedAt     *string `json:"paused_at"`
		PauseReason  string  `json:"pause_reason"`
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	return got.ErrorMessage, got.PausedAt, got.PauseReason
}

func TestPause_LastsUntilResume(t *testing.T) {
	t.Parallel()
	of := minutely()
	of.ErrorMessage = "the container answered 500"
	paused, err := of.Pause([]byte(`{"reason":"maintenance"}`), noon)
	if err != nil || !paused.Paused() || paused.Status != trigger.Ready || paused.Generation != 4 || !paused.UpdatedAt.Equal(noon) {
		t.Fatalf("got %+v, %v", paused, err)
	}
	message, at, reason := answer(t, paused)
	if message != "paused since 2026-11-26T12:00:30Z: maintenance" || at == nil || *at != "2026-11-26T12:00:30.000000Z" || reason != "maintenance" {
		t.Errorf("the answer has %q, %v, %q", message, at, reason)
	}
	if next, err := paused.NextRuns(noon, 5); err != nil || len(next.NextRuns) != 0 {
		t.Errorf("the next runs are %v, %v", next, err)
	}

	again, err := paused.Pause([]byte(`{"reason":"another"}`), noon.Add(time.Hour))
	if err != nil || again.Generation != paused.Generation || again.PauseReason != "maintenance" {
		t.Errorf("paused again: got %+v, %v", again, err)
	}
	patched, _, err := paused.Update([]byte(`{"paused":false,"description":"d"}`), noon.Add(time.Hour))
	if err != nil || !patched.Paused() {
		t.Errorf("after a PATCH: got %+v, %v", patched, err)
	}

	resumed, catchUp, err := paused.Resume([]byte(`{}`), noon.Add(time.Hour))
	if err != nil || resumed.Paused() || resumed.PauseReason != "" || resumed.Generation != 5 || catchUp != trigger.CatchUpNone {
		t.Errorf("resumed: got %+v, %q, %v", resumed, catchUp, err)
	}
	if message, at, reason := answer(t, resumed); message != "the container answered 500" || at != nil || reason != "" {
		t.Errorf("the answer has %q, %v, %q", message, at, reason)
	}
	if again, _, err := resumed.Resume([]byte(`{}`), noon.Add(2*time.Hour)); err != nil || again.Generation != resumed.Generation {
		t.Errorf("resumed again: got %+v, %v", again, err)
	}
}

func TestPause_SaysWhatBecomesOfMessagesAndErrors(t *testing.T) {
	t.Parallel()
	of := minutely()
	of.Cron, of.NATS = nil, &trigger.NATS{Subject: "s"}
	of.Status, of.ErrorMessage = trigger.Error, "no server"
	paused, err := of.Pause([]byte(`{}`), noon)
	if err != nil || paused.Status != trigger.Error {
		t.Fatalf("got %+v, %v", paused, err)
	}
	const want = "paused since 2026-11-26T12:00:30Z; messages on a subject of core NATS are lost until the trigger is resumed, those of a stream wait; no server"
	if message, _, _ := answer(t, paused); message != want {
		t.Errorf("got %q", message)
	}
}

func TestPauseAndResume_NameEveryFault(t *testing.T) {
	t.Parallel()
	messages := minutely()
	messages.Cron, messages.SQS = nil, &trigger.SQS{}
	deleting := minutely()
	deleting.Status = trigger.Deleting
	pause := func(of trigger.Trigger, body string) error {
		_, err := of.Pause([]byte(body), noon)
		return err
	}
	resume := func(of trigger.Trigger, body string) error {
		of.PausedAt = noon
		_, _, err := of.Resume([]byte(body), noon)
		return err
	}
	for what, test := range map[string]struct {
		err    error
		faults []string
	}{
		"pause, unknown and long":  {pause(minutely(), `{"raeson":"x","reason":"`+strings.Repeat("x", 4000)+`"}`), []string{"raeson", "reason"}},
		"pause, no text":           {pause(minutely(), `{"reason":1}`), []string{"reason"}},
		"resume, unknown":          {resume(minutely(), `{"catchup":"last"}`), []string{"catchup"}},
		"resume, another catch-up": {resume(minutely(), `{"catch_up":"some"}`), []string{"catch_up"}},
		"resume, messages":         {resume(messages, `{"catch_up":"last"}`), []string{"catch_up"}},
	} {
		var got []string
		if details, ok := apierr.From(test.err).Details.([]apierr.Argument); ok {
			for _, detail := range details {
				got = append(got, detail.Name)
			}
		}
		if strings.Join(got, " ") != strings.Join(test.faults, " ") {
			t.Errorf("%s: got %v, %v", what, got, test.err)
		}
	}
	for what, err := range map[string]error{"pause": pause(deleting, `{}`), "resume": resume(deleting, `{}`)} {
		if apierr.From(err).Type != apierr.TypeTransientState {
			t.Errorf("%s while it is deleted: got %v", what, err)
		}
	}
}

func TestCreate_MayBePaused(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{`"paused":true`: true, `"paused":false`: false, `"paused":null`: false} {
		created, _, err := trigger.Create([]byte(`{"name":"n","container_id":"`+uuid.NewString()+`","cron_config":{"schedule":"@daily"},`+body+`}`), uuid.NewString(), "fr-par", noon)
		if err != nil || created.Paused() != want || created.Status != trigger.Creating {
			t.Errorf("%s: got %+v, %v", body, created, err)
		}
	}
}

func TestMissed_AreTheRunsOfTheOccurrencesThatAPauseLeftOut(t *testing.T) {
	t.Parallel()
	of := minutely()
	of.PausedAt = noon
	last, err := of.Missed(trigger.CatchUpLast, noon.Add(10*time.Minute))
	if err != nil || len(last) != 1 {
		t.Fatalf("got %+v, %v", last, err)
	}
	const event = "2026-11-26T12:10:00Z"
	if its := last[0]; its.Key != (run.Key{TriggerID: of.ID, Event: event}) || its.EventID != of.ID+"/"+event || its.Origin != run.CatchUp || its.Request.Body != "b" {
		t.Errorf("got %+v", its)
	}
	all, err := of.Missed(trigger.CatchUpAll, noon.Add(10*time.Minute))
	if err != nil || len(all) != 10 || all[0].Event != "2026-11-26T12:01:00Z" || all[9].Event != event {
		t.Errorf("got %+v, %v", all, err)
	}
	if most, err := of.Missed(trigger.CatchUpAll, noon.Add(1000*time.Minute)); err != nil || len(most) != 1000 {
		t.Errorf("got %d runs, %v", len(most), err)
	}
	if _, err := of.Missed(trigger.CatchUpAll, noon.Add(1001*time.Minute)); apierr.From(err).Type != apierr.TypeInvalidArguments {
		t.Errorf("too many: got %v", err)
	}
	running := of
	running.PausedAt = time.Time{}
	for what, test := range map[string]struct {
		of      trigger.Trigger
		catchUp trigger.CatchUp
		now     time.Time
	}{
		"none":                {of, trigger.CatchUpNone, noon.Add(time.Hour)},
		"nothing was missed":  {of, trigger.CatchUpLast, noon.Add(29 * time.Second)},
		"nothing of all":      {of, trigger.CatchUpAll, noon.Add(29 * time.Second)},
		"it is not paused":    {running, trigger.CatchUpAll, noon.Add(time.Hour)},
		"it has no schedule":  {trigger.Trigger{SQS: &trigger.SQS{}, PausedAt: noon}, trigger.CatchUpAll, noon.Add(time.Hour)},
		"the clock went back": {of, trigger.CatchUpAll, noon.Add(-time.Hour)},
	} {
		if got, err := test.of.Missed(test.catchUp, test.now); len(got) > 0 || err != nil {
			t.Errorf("%s: got %v, %v", what, got, err)
		}
	}
}
