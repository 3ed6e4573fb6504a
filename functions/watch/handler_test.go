package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/measured"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/relay/watchdog"
)

// testBundle is a watchdog of two shards on moto, which notes the runs that it starts.
type testBundle struct {
	function
	t *testing.T

	mu      sync.Mutex
	started []string
	refuse  error
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	aws, cfg := guardtest.Start(t)
	env := mototest.Environment(t, "watch")
	db := dynamodb.NewFromConfig(cfg)
	b := &testBundle{t: t}
	b.function = function{
		triggers: store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]},
		starter: watchdog.Starter{
			Client: lambda.NewFromConfig(cfg), Leases: store.Leases{Client: db, Table: env["CLAIMS_TABLE"]}, RelayARN: env["RELAY_ARN"], Now: time.Now,
		},
		shards: 2, stack: "test",
	}
	aws.SetInvoke(func(_ string, payload []byte) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.started = append(b.started, string(payload))
		return b.refuse
	})
	return b
}

// assign creates a trigger on a shard.
func (b *testBundle) assign(of string) {
	b.t.Helper()
	containers := store.Containers{Client: b.triggers.Client, Table: mototest.Environment(b.t, "sweep")["CONTAINERS_TABLE"]}
	on := container.Container{ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1}
	if err := containers.Create(b.t.Context(), on); err != nil {
		b.t.Fatal(err)
	}
	body := fmt.Sprintf(`{"name":"n","container_id":%q,"nats_config":{"server_urls":["nats://n"],"subject":"s"}}`, on.ID)
	created, _, err := trigger.Create([]byte(body), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.triggers.Create(b.t.Context(), containers, created); err != nil {
		b.t.Fatal(err)
	}
	if err := b.triggers.SetRelay(b.t.Context(), created.ID, of, created.Generation); err != nil {
		b.t.Fatal(err)
	}
}

// expect runs the watchdog, and compares the shards that it starts and counts as down.
func (b *testBundle) expect(what string, started []string, down float64) {
	b.t.Helper()
	b.started = nil
	var log bytes.Buffer
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
	if err := b.handle(b.t.Context()); !errors.Is(err, b.refuse) && (err == nil) != (b.refuse == nil) {
		b.t.Errorf("%s: got %v", what, err)
	}
	slices.Sort(b.started)
	if !slices.Equal(b.started, started) {
		b.t.Errorf("%s: started %v, want %v", what, b.started, started)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	var counted map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &counted); err != nil {
		b.t.Fatal(err)
	}
	if got := counted["RelaysDown"]; got != down {
		b.t.Errorf("%s: counted %v shards as down, want %v: %s", what, got, down, log.String())
	}
}

func TestWatch_StartsARunForEachShardThatNeedsOneAndCountsThoseDown(t *testing.T) {
	b := setup(t)
	b.expect("without triggers", nil, 0)
	b.assign("0")
	b.assign("1")
	b.expect("before the first runs", []string{`{"shard":"0"}`, `{"shard":"1"}`}, 2)

	now := time.Now()
	b.starter.Now = func() time.Time { return now }
	take := func(of string, until time.Time) {
		t.Helper()
		if err := b.starter.Leases.Take(t.Context(), of, "run-"+of, now, until); err != nil {
			t.Fatal(err)
		}
	}
	take("0", now.Add(time.Second))
	take("1", now.Add(time.Hour))
	b.expect("with runs", nil, 0)
	now = now.Add(50 * time.Second)
	b.expect("less than a minute after a run died", []string{`{"shard":"0"}`}, 0)
	now = now.Add(12 * time.Second)
	b.expect("a minute after a run died", []string{`{"shard":"0"}`}, 1)
	if err := b.starter.Leases.Renew(t.Context(), "1", "run-1", now.Add(time.Minute), true); err != nil {
		t.Fatal(err)
	}
	b.expect("while a run ends", []string{`{"shard":"0"}`, `{"shard":"1"}`}, 1)
	b.refuse = errors.New("refused")
	b.expect("if no run can be started", []string{`{"shard":"0"}`, `{"shard":"1"}`}, 1)
}

// infra/README.md states the calls.
func TestWatch_MakesThreeCallsForEachShardWithTriggers(t *testing.T) {
	b := setup(t)
	for range 2 {
		b.assign("0")
		b.assign("1")
	}
	cfg, calls := mototest.Config(t), &measured.Calls{}
	cfg.HTTPClient = calls
	db := dynamodb.NewFromConfig(cfg)
	b.triggers.Client, b.starter.Leases.Client = db, db
	if err := b.handle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if made, read := calls.Take(); measured.Sum(made) != 3*b.shards || read != 1 {
		t.Errorf("a run over %d shards made %v, and read %d triggers of one", b.shards, made, read)
	}
}
