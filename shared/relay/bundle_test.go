package relay

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/infra/local/natsd"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	slog.SetDefault(discard)
	os.Exit(m.Run())
}

// deadline is the time that a test waits for an event.
const deadline = 3 * time.Minute

// quick shortens the intervals that tests would wait for. It leaves the timeouts, which
// a busy machine needs. FetchTime is longer than the longest request that a test lets a
// consumer accept.
var quick = Timing{
	FollowInterval: 200 * time.Millisecond, StatusInterval: 200 * time.Millisecond, ReconnectWait: 200 * time.Millisecond,
	CheckInterval: time.Second, FetchTime: 2 * time.Second,
}

// testBundle has a shard of the relay on moto, a NATS server, and a container that
// records its calls.
type testBundle struct {
	*Relay
	resolve.Resolver
	t     *testing.T
	shard string
	nats  *natsd.Server
	to    container.Container
	dead  string // the dead-letter queue's URL

	mu     sync.Mutex
	answer func(body string) int
	taken  map[string]int             // calls answered with a 2xx, by body
	ids    map[string]map[string]bool // each ce-id of the calls, by body
	calls  int
}

func setup(t *testing.T, options *server.Options) *testBundle {
	t.Helper()
	env, cfg := mototest.Environment(t, "relay"), mototest.Config(t)
	db, queues := dynamodb.NewFromConfig(cfg), sqs.NewFromConfig(cfg)
	b := &testBundle{t: t, shard: uuid.NewString(), taken: map[string]int{}, ids: map[string]map[string]bool{}, answer: func(string) int { return http.StatusOK }}
	created, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &b.shard})
	if err != nil {
		t.Fatal(err)
	}
	b.dead = *created.QueueUrl
	outside := invoke.Settings{AllowPrivate: true}
	b.Relay = &Relay{
		Resolver: resolve.Resolver{
			Triggers:   store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]},
			Containers: store.Containers{Client: db, Table: env["CONTAINERS_TABLE"]},
			Tokens:     &resolve.Tokens{}, Sealer: seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: env["KMS_KEY_ID"]}, Now: time.Now,
		},
		Leases:    store.Leases{Client: db, Table: env["CLAIMS_TABLE"]},
		Positions: store.Positions{Client: db, Table: env["CLAIMS_TABLE"]},
		Caller:    invoke.New(outside), Dialer: invoke.Dialer(outside),
		DeadLetters: DeadLetters{Client: queues, URL: b.dead}, Concurrency: 64, Timing: quick,
	}
	b.Resolver = b.Relay.Resolver
	if b.nats, err = natsd.Start(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.nats.Close)
	container1 := httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(container1.Close)
	b.to = container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1,
		Owner:          auth.Owner{OrganizationID: uuid.NewString(), ProjectID: uuid.NewString()},
		PublicEndpoint: container1.URL, Privacy: container.Public, Timeout: time.Minute,
	}
	if err := b.Containers.Create(t.Context(), b.to); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *testBundle) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	b.mu.Lock()
	b.calls++
	if b.ids[string(body)] == nil {
		b.ids[string(body)] = map[string]bool{}
	}
	b.ids[string(body)][r.Header.Get("Ce-Id")] = true
	answer := b.answer
	b.mu.Unlock()
	status := answer(string(body))
	if status < 300 {
		b.mu.Lock()
		b.taken[string(body)]++
		b.mu.Unlock()
	}
	w.WriteHeader(status)
}

func (b *testBundle) answers(answer func(body string) int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

// block keeps the container from answering until release is called.
func (b *testBundle) block() (release func()) {
	blocked := make(chan struct{})
	b.answers(func(string) int { <-blocked; return http.StatusOK })
	return func() { close(blocked) }
}

func (b *testBundle) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.taken)
}

// times returns how often the container accepted each body.
func (b *testBundle) times() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.taken)
}

// doubles returns the number of bodies that the container accepted more than once.
func (b *testBundle) doubles() (doubles int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, times := range b.taken {
		if times > 1 {
			doubles++
		}
	}
	return doubles
}

// publisher returns a connection of another client to the server.
func (b *testBundle) publisher(options ...nats.Option) *nats.Conn {
	b.t.Helper()
	conn, err := nats.Connect(b.nats.URL(), options...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	return conn
}

// create creates a NATS trigger and assigns it to the shard.
func (b *testBundle) create(subject, credentials string) (id string) {
	b.t.Helper()
	return b.createOn([]string{b.nats.URL()}, subject, credentials)
}

func (b *testBundle) createOn(urls []string, subject, credentials string) (id string) {
	b.t.Helper()
	return b.createFrom("nats_config", map[string]any{"server_urls": urls, "subject": subject, "credentials_file_content": credentials})
}

func (b *testBundle) createFrom(source string, config map[string]any) (id string) {
	b.t.Helper()
	body, err := json.Marshal(map[string]any{"name": "n", "container_id": b.to.ID, source: config})
	if err != nil {
		b.t.Fatal(err)
	}
	created, secret, err := trigger.Create(body, uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	created.Owner = b.to.Owner
	if secret != nil {
		sealed, err := b.Sealer.Seal(b.t.Context(), trigger.Resource, created.ID, *secret)
		if err != nil {
			b.t.Fatal(err)
		}
		created = created.WithSecret(sealed)
	}
	if err := b.Triggers.Create(b.t.Context(), b.Containers, created); err != nil {
		b.t.Fatal(err)
	}
	if err := b.Triggers.SetRelay(b.t.Context(), created.ID, b.shard, created.Generation); err != nil {
		b.t.Fatal(err)
	}
	return created.ID
}

func (b *testBundle) get(id string) trigger.Trigger {
	b.t.Helper()
	found, err := b.Triggers.Get(context.Background(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

func (b *testBundle) update(id, body string) {
	b.t.Helper()
	current := b.get(id)
	updated, secret, err := current.Update([]byte(body), time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	if secret != nil {
		sealed, err := b.Sealer.Seal(b.t.Context(), trigger.Resource, id, *secret)
		if err != nil {
			b.t.Fatal(err)
		}
		updated = updated.WithSecret(sealed)
	}
	if _, err := b.Triggers.Update(b.t.Context(), current, updated); err != nil {
		b.t.Fatal(err)
	}
	// Reconcile does the same.
	if err := b.Triggers.SetRelay(b.t.Context(), id, b.shard, updated.Generation); err != nil {
		b.t.Fatal(err)
	}
}

// testRun is a run of the shard.
type testRun struct {
	stop chan struct{}
	done chan error
}

// start runs the shard until length is over or the run is stopped.
func (b *testBundle) start(length time.Duration) *testRun {
	b.t.Helper()
	run := &testRun{stop: make(chan struct{}), done: make(chan error, 1)}
	ctx, cancel := context.WithTimeout(context.Background(), length)
	var once sync.Once
	go func() {
		defer cancel()
		run.done <- b.Run(ctx, b.shard, uuid.NewString(), run.stop)
	}()
	b.t.Cleanup(func() {
		once.Do(func() {
			select {
			case <-run.stop:
			default:
				close(run.stop)
			}
		})
	})
	return run
}

// end stops a run and waits until it has ended.
func (b *testBundle) end(run *testRun) {
	b.t.Helper()
	close(run.stop)
	b.ended(run)
}

// ended waits until a run has ended. It fails the test if the run does not end although
// no call has begun since the last deadline: on a crowded machine draining takes long.
func (b *testBundle) ended(run *testRun) {
	b.t.Helper()
	for last := -1; ; {
		select {
		case err := <-run.done:
			if err != nil {
				b.t.Fatal(err)
			}
			return
		case <-time.After(deadline):
		}
		b.mu.Lock()
		calls := b.calls
		b.mu.Unlock()
		if calls == last {
			b.t.Fatal("the run does not end")
		}
		last = calls
	}
}

func (b *testBundle) eventually(what string, ok func() bool) {
	b.t.Helper()
	end := time.After(deadline)
	for !ok() {
		select {
		case <-end:
			b.t.Fatalf("not within %s: %s", deadline, what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (b *testBundle) ready(id string) {
	b.t.Helper()
	b.eventually("the trigger is ready", func() bool { t := b.get(id); return t.Status == trigger.Ready && t.Settled() })
}

// inError waits until a trigger is in error and its error_message contains words.
func (b *testBundle) inError(id, words string) {
	b.t.Helper()
	var last trigger.Trigger
	defer func() {
		if b.t.Failed() {
			b.t.Logf("the trigger is %s: %s", last.Status, last.ErrorMessage)
		}
	}()
	b.eventually("the trigger is in error: "+words, func() bool {
		last = b.get(id)
		return last.Status == trigger.Error && strings.Contains(last.ErrorMessage, words)
	})
}

func (b *testBundle) publish(conn *nats.Conn, subject string, bodies ...string) {
	b.t.Helper()
	for _, body := range bodies {
		if err := conn.Publish(subject, []byte(body)); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := conn.FlushTimeout(deadline); err != nil {
		b.t.Fatal(err)
	}
}

// stream creates a stream that stores a subject.
func (b *testBundle) stream(subject string) (jetstream.JetStream, jetstream.Stream) {
	b.t.Helper()
	js, err := jetstream.New(b.publisher())
	if err != nil {
		b.t.Fatal(err)
	}
	stream, err := js.CreateStream(b.t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{subject}})
	if err != nil {
		b.t.Fatal(err)
	}
	return js, stream
}

func numbers(from, to int) (bodies []string) {
	for i := from; i < to; i++ {
		bodies = append(bodies, strconv.Itoa(i))
	}
	return bodies
}
