package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

// due is a minute at which "* * * * *" and "0 10 * * *" are due.
var due = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

const retention = 7 * 24 * time.Hour

// testBundle is the function on moto, with a trigger on a container that answers
// as it is told.
type testBundle struct {
	function
	t       *testing.T
	trigger trigger.Trigger
	to      container.Container
	calls   atomic.Int64
	headers chan http.Header
	// answers are the statuses to give, the last one again and again.
	mu      sync.Mutex
	answers []int
	body    string
	clock   time.Time
}

func setup(t *testing.T, answers ...int) *testBundle {
	t.Helper()
	env, cfg := mototest.Environment(t, "dispatch-schedule"), mototest.Config(t)
	db := dynamodb.NewFromConfig(cfg)
	b := &testBundle{t: t, answers: answers, clock: due.Add(time.Second), headers: make(chan http.Header, 100)}
	b.function = function{
		resolver: resolve.Resolver{
			Triggers:   store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]},
			Containers: store.Containers{Client: db, Table: env["CONTAINERS_TABLE"]},
			Sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: env["KMS_KEY_ID"]},
			Now:        func() time.Time { return b.clock },
		},
		runs:   store.Runs{Client: db, Table: env["RUNS_TABLE"], Retention: retention},
		bus:    lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: env["EVENT_BUS"]},
		client: invoke.New(invoke.Settings{AllowPrivate: true}),

		maxDeliveries: 3,
		stack:         "a-stack",
		sleep:         func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.calls.Add(1)
		b.headers <- r.Header
		_, _ = io.Copy(io.Discard, r.Body)
		b.mu.Lock()
		defer b.mu.Unlock()
		w.WriteHeader(b.answers[0])
		_, _ = io.WriteString(w, b.body)
		if len(b.answers) > 1 {
			b.answers = b.answers[1:]
		}
	}))
	t.Cleanup(server.Close)

	b.to = container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1,
		Owner:          auth.Owner{OrganizationID: uuid.NewString(), ProjectID: uuid.NewString()},
		PublicEndpoint: server.URL, Privacy: container.Public, Timeout: time.Minute,
	}
	if err := b.resolver.Containers.Create(t.Context(), b.to); err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"name":"n","container_id":%q,"cron_config":{"schedule":"0 10 * * *"}}`, b.to.ID)
	created, _, err := trigger.Create([]byte(body), uuid.NewString(), "fr-par", due.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	created.Owner = b.to.Owner
	if err := b.resolver.Triggers.Create(t.Context(), b.resolver.Containers, created); err != nil {
		t.Fatal(err)
	}
	if err := b.resolver.Triggers.MarkObserved(t.Context(), created, "", due.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	b.trigger = created
	return b
}

// fire returns what the trigger's schedule sends when it is due, as reconcile made
// it from the trigger as it is now.
func (b *testBundle) fire() trigger.Occurrence {
	b.t.Helper()
	current, err := b.resolver.Triggers.Get(b.t.Context(), b.trigger.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return trigger.Occurrence{
		TriggerID: current.ID, ContainerID: b.to.ID, ScheduledTime: due,
		Schedule: current.Cron.Schedule, Timezone: current.Cron.Timezone,
	}
}

// patch updates the trigger a second before the occurrence is due.
func (b *testBundle) patch(body string) {
	b.t.Helper()
	current, err := b.resolver.Triggers.Get(b.t.Context(), b.trigger.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	updated, _, err := current.Update([]byte(body), due.Add(-time.Second))
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.resolver.Triggers.Update(b.t.Context(), current, updated); err != nil {
		b.t.Fatal(err)
	}
}

// settle makes the trigger ready.
func (b *testBundle) settle(now time.Time) {
	b.t.Helper()
	current, err := b.resolver.Triggers.Get(b.t.Context(), b.trigger.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.resolver.Triggers.MarkObserved(b.t.Context(), current, "", now); err != nil {
		b.t.Fatal(err)
	}
}

// deliver delivers the trigger's occurrence under a request ID.
func (b *testBundle) deliver(requestID string) error {
	b.t.Helper()
	return b.deliverOccurrence(requestID, trigger.Occurrence{
		TriggerID: b.trigger.ID, ContainerID: b.to.ID, ScheduledTime: due,
		Schedule: b.trigger.Cron.Schedule, Timezone: b.trigger.Cron.Timezone,
	})
}

// deliverOccurrence runs the function as Lambda does.
func (b *testBundle) deliverOccurrence(requestID string, o trigger.Occurrence) error {
	b.t.Helper()
	event, err := json.Marshal(o)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	return b.handle(lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{AwsRequestID: requestID}), event)
}

func (b *testBundle) expectCalls(want int64) {
	b.t.Helper()
	if got := b.calls.Load(); got != want {
		b.t.Errorf("got %d calls, want %d", got, want)
	}
}

func (b *testBundle) message() string {
	b.t.Helper()
	found, err := b.resolver.Triggers.Get(b.t.Context(), b.trigger.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return found.ErrorMessage
}

func TestHandle_CallsOnceForAnOccurrenceDeliveredManyTimes(t *testing.T) {
	t.Parallel()
	b := setup(t, http.StatusOK)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if err := b.deliver(uuid.NewString()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	b.expectCalls(1)
	b.clock = due.Add(24 * time.Hour) // the claim is long stale, but it was delivered
	if err := b.deliver("late"); err != nil {
		t.Error(err)
	}
	b.expectCalls(1)
}

func TestHandle_RetriesAFailedCallWithTheSameID(t *testing.T) {
	t.Parallel()
	b := setup(t, 500, 404, 200)
	if err := b.deliver("run"); err != nil {
		t.Error(err)
	}
	b.expectCalls(3)
	ids := map[string]bool{}
	for range 3 {
		ids[(<-b.headers).Get("Ce-Id")] = true
	}
	if len(ids) != 1 {
		t.Errorf("got the IDs %v", ids)
	}
	if got := b.message(); got != "" {
		t.Errorf("got message %q after a success", got)
	}
}

func TestHandle_GivesUpAfterTheLastDeliveryAndAcceptsAReplay(t *testing.T) {
	t.Parallel()
	b := setup(t, http.StatusBadGateway)
	for delivery := int64(1); delivery <= 3; delivery++ {
		err := b.deliver("run") // Lambda's retries have the ID of the first try
		if err == nil || !strings.Contains(err.Error(), "the container answered 502 Bad Gateway") {
			t.Errorf("delivery %d: got %v", delivery, err)
		}
		b.expectCalls(3 * delivery)
		if err := b.deliver("double"); delivery < 3 && err != nil {
			t.Errorf("a double of a failing occurrence: %v", err)
		}
		if delivery < 3 {
			b.expectCalls(3 * delivery)
		}
	}
	b.mu.Lock()
	b.answers = []int{http.StatusOK}
	b.mu.Unlock()
	before := b.calls.Load()
	if err := b.deliver("replay"); err != nil {
		t.Error(err)
	}
	b.expectCalls(before + 1)
	if got := b.message(); got != "" {
		t.Errorf("got message %q after the replay", got)
	}
}

// A container that does not answer must not hold a run for as long as it is tried.
func TestHandle_LeavesACallThatTimedOutToTheNextDelivery(t *testing.T) {
	t.Parallel()
	b := setup(t, http.StatusGatewayTimeout)
	b.resolver.Now = func() time.Time {
		b.clock = b.clock.Add(b.to.Timeout)
		return b.clock
	}
	if err := b.deliver("first"); err == nil {
		t.Error("the occurrence counts as delivered")
	}
	b.expectCalls(1)
}

func TestHandle_TakesOverTheClaimOfACrashedRun(t *testing.T) {
	t.Parallel()
	b := setup(t, http.StatusOK)
	crash := func(b *testBundle) {
		its := b.fire().Run(b.trigger)
		its.StartedAt = b.clock
		if _, err := b.runs.Claim(t.Context(), its, store.Claim{Holder: "crashed", Until: b.clock.Add(15 * time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	crash(b)
	if err := b.deliver("other"); err != nil {
		t.Error(err)
	}
	b.expectCalls(0)
	b.clock = b.clock.Add(16 * time.Minute)
	if err := b.deliver("other"); err != nil {
		t.Error(err)
	}
	b.expectCalls(1)

	again := setup(t, http.StatusOK)
	crash(again)
	if err := again.deliver("crashed"); err != nil { // Lambda's retry of the run that crashed
		t.Error(err)
	}
	again.expectCalls(1)
}

func TestHandle_MakesNoCallForAnOutdatedOccurrence(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b *testBundle){
		"another schedule": func(b *testBundle) {
			b.patch(`{"cron_config":{"schedule":"1 10 * * *"}}`)
		},
		"being deleted": func(b *testBundle) {
			if _, err := b.resolver.Triggers.MarkDeleting(t.Context(), b.trigger.ID); err != nil {
				t.Fatal(err)
			}
		},
		"deleted": func(b *testBundle) {
			if _, err := b.resolver.Triggers.MarkDeleting(t.Context(), b.trigger.ID); err != nil {
				t.Fatal(err)
			}
			if err := b.resolver.Triggers.Remove(t.Context(), b.trigger); err != nil {
				t.Fatal(err)
			}
		},
		"without a container": func(b *testBundle) {
			if _, err := b.resolver.Containers.MarkDeleting(t.Context(), b.to.ID); err != nil {
				t.Fatal(err)
			}
			if err := b.resolver.Containers.Remove(t.Context(), b.to); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, http.StatusOK)
			change(b)
			if err := b.deliver("run"); err != nil {
				t.Error(err)
			}
			b.expectCalls(0)
		})
	}
}

func TestHandle_RefusesAnEventThatIsNoOccurrence(t *testing.T) {
	t.Parallel()
	b := setup(t, http.StatusOK)
	id := uuid.NewString()
	for _, event := range []string{``, `[]`, `{}`, `{"trigger_id":"x","container_id":"` + id + `","scheduled_time":"2026-11-23T10:00:00Z"}`,
		`{"trigger_id":"` + id + `","container_id":"` + id + `"}`,
		`{"trigger_id":"` + id + `","container_id":"` + id + `","scheduled_time":"2026-11-23T10:00:00Z","filter":"day"}`,
		`{"trigger_id":"` + id + `","container_id":"` + id + `","scheduled_time":"<aws.scheduler.scheduled-time>"}`} {
		if err := b.handle(t.Context(), json.RawMessage(event)); err == nil || !strings.Contains(err.Error(), "parsing an occurrence") {
			t.Errorf("%s: got %v", event, err)
		}
	}
}
