package faults

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"containertriggers/infra/local/moto"
	"containertriggers/shared/platform/awserr"
)

// calls makes so many calls under a plan, without retries, and tells the outcomes
// and how many calls took effect.
func calls(t *testing.T, plan Plan, n int) (outcomes map[string]int, effects int64, deaths int) {
	t.Helper()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	var effect atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		effect.Add(1)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = w.Write([]byte(`{"QueueUrl":"u"}`))
	}))
	defer server.Close()
	cfg := moto.Config(server.URL)
	injector := New(plan)
	injector.exit = func(int) { deaths++ }
	injector.Break(&cfg)
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	client := sqs.NewFromConfig(cfg)
	outcomes = map[string]int{}
	for range n {
		_, err := client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("q")})
		switch {
		case err == nil:
			outcomes["answered"]++
		case awserr.Throttled(err):
			outcomes["throttled"]++
		case errors.Is(err, errLost):
			outcomes["lost"]++
		default:
			outcomes["failed"]++
		}
		if err != nil && !awserr.Transient(err) {
			t.Errorf("not one to try again: %v", err)
		}
	}
	return outcomes, effect.Load(), deaths
}

func TestInjector_DrawsEveryKindOfFaultFromTheSeed(t *testing.T) {
	const n = 2000
	plan := Plan{Seed: 1, Rate: 0.4, Longest: 1}
	outcomes, effects, _ := calls(t, plan, n)
	for _, outcome := range []string{"throttled", "lost", "failed"} {
		if got := outcomes[outcome]; got < n/20 || got > n*3/20 {
			t.Errorf("%s: %d of %d", outcome, got, n)
		}
	}
	// What was lost took effect, what was refused did not.
	if want := int64(outcomes["answered"] + outcomes["lost"]); effects != want {
		t.Errorf("%d calls took effect, want %d", effects, want)
	}
	again, _, _ := calls(t, plan, n)
	other, _, _ := calls(t, Plan{Seed: 2, Rate: 0.4, Longest: 1}, n)
	if outcomes["lost"] != again["lost"] || outcomes["throttled"] != again["throttled"] {
		t.Errorf("the same seed gives %v and %v", outcomes, again)
	}
	if outcomes["lost"] == other["lost"] && outcomes["throttled"] == other["throttled"] && outcomes["failed"] == other["failed"] {
		t.Error("another seed gives the same")
	}
}

func TestInjector_WithoutARateBreaksNothing(t *testing.T) {
	if outcomes, effects, _ := calls(t, Plan{Seed: 1}, 100); outcomes["answered"] != 100 || effects != 100 {
		t.Errorf("got %v, %d", outcomes, effects)
	}
}

func TestInjector_EndsTheProcessBeforeOrAfterACall(t *testing.T) {
	if _, _, deaths := calls(t, Plan{Seed: 1, Deaths: 1}, 10); deaths != 10 {
		t.Errorf("it died %d times", deaths)
	}
}
