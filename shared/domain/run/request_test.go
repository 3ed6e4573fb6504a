package run_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"containertriggers/shared/domain/run"
)

func TestWithBody_KeepsEveryByteWithinTheLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body, most := rapid.SliceOf(rapid.Byte()).Draw(t, "body"), rapid.IntRange(0, 20).Draw(t, "most")
		if rapid.Bool().Draw(t, "text") {
			body = []byte(rapid.String().Draw(t, "string"))
		}
		got := run.Request{}.WithBody(body, most)
		kept := got.Bytes()
		if got.Truncated != (len(body) > most) || len(kept) > most || !bytes.HasPrefix(body, kept) || !got.Truncated && len(kept) != len(body) || !utf8.ValidString(got.Body) || got.Body != "" && got.BodyBase64 != "" {
			t.Errorf("%q became %+v", body, got)
		}
		if utf8.Valid(body) && got.BodyBase64 != "" {
			t.Errorf("the text %q became %+v", body, got)
		}
	})
}

func TestDetails_HideCredentials(t *testing.T) {
	t.Parallel()
	its := run.Run{Key: run.Key{TriggerID: trigger, Event: "2026-11-25T08:00:00Z"}, Request: &run.Request{Headers: map[string]string{"authorization": "Bearer x", "X-Job": "nightly"}}}
	text, err := json.Marshal(its.Details())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("Bearer")) || !bytes.Contains(text, []byte("nightly")) || its.Request.Headers["authorization"] != "Bearer x" {
		t.Errorf("got %s", text)
	}
}

func TestReplayable_NeedsTheWholePayload(t *testing.T) {
	t.Parallel()
	for _, state := range run.States() {
		whole, cut := run.Run{State: state, Request: &run.Request{}}, run.Run{State: state, Request: &run.Request{Truncated: true}}
		if ended := state.Ended(); whole.Replayable() != ended || (run.Run{State: state}).Replayable() != ended || cut.Replayable() {
			t.Errorf("%s: got %v, %v", state, whole.Replayable(), cut.Replayable())
		}
	}
}
