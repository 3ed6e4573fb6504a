package relay

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
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
	"containertriggers/shared/container"
	"containertriggers/shared/invoke"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
	"containertriggers/shared/target"
	"containertriggers/shared/trigger"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	slog.SetDefault(discard)
	os.Exit(m.Run())
}

// deadline is how long a test waits for what must come.
const deadline = 60 * time.Second

// testBundle is a shard of the relay on moto, a NATS server, and a container that
// notes its calls.
type testBundle struct {
	*Relay
	t     *testing.T
	shard string
	nats  *natsd.Server
	to    container.Container
	dead  string // the dead-letter queue's URL

	mu     sync.Mutex
	answer func(body string) int
	taken  map[string]int // calls answered with a 2xx, by body
	calls  int
}

func setup(t *testing.T, options *server.Options) *testBundle {
	t.Helper()
	env, cfg := mototest.Environment(t, "relay"), mototest.Config(t)
	db, queues := dynamodb.NewFromConfig(cfg), sqs.NewFromConfig(cfg)
	b := &testBundle{t: t, shard: uuid.NewString(), taken: map[string]int{}, answer: func(string) int { return http.StatusOK }}
	created, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &b.shard})
	if err != nil {
		t.Fatal(err)
	}
	b.dead = *created.QueueUrl
	outside := invoke.Settings{AllowPrivate: true}
	b.Relay = &Relay{
		Finder: target.Finder{
			Triggers:   table.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]},
			Containers: table.Containers{Client: db, Table: env["CONTAINERS_TABLE"]},
			Sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: env["KMS_KEY_ID"]}, Now: time.Now,
		},
		Claims: table.Claims{Client: db, Table: env["CLAIMS_TABLE"]},
		Caller: invoke.New(outside), Dialer: invoke.Dialer(outside),
		Dead: DeadLetters{Client: queues, URL: b.dead}, Concurrency: 64,
	}
	if b.nats, err = natsd.Start(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.nats.Close)
	container1 := httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(container1.Close)
	b.to = container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1,
		Owner:          container.Owner{OrganizationID: uuid.NewString(), ProjectID: uuid.NewString()},
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

// block has the container answer nothing until it is released.
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

// doubles counts the bodies that were taken more than once.
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

// publisher connects to the server as somebody else.
func (b *testBundle) publisher(options ...nats.Option) *nats.Conn {
	b.t.Helper()
	conn, err := nats.Connect(b.nats.URL(), options...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	return conn
}

// create writes a NATS trigger that is on the shard.
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
	// As reconcile does.
	if err := b.Triggers.SetRelay(b.t.Context(), id, b.shard, updated.Generation); err != nil {
		b.t.Fatal(err)
	}
}

// one is a run of the shard.
type one struct {
	stop chan struct{}
	done chan error
}

// start runs the shard for so long, if it is not stopped.
func (b *testBundle) start(length time.Duration) *one {
	b.t.Helper()
	run := &one{stop: make(chan struct{}), done: make(chan error, 1)}
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

// end stops a run and waits for its end.
func (b *testBundle) end(run *one) {
	b.t.Helper()
	close(run.stop)
	b.ended(run)
}

func (b *testBundle) ended(run *one) {
	b.t.Helper()
	select {
	case err := <-run.done:
		if err != nil {
			b.t.Fatal(err)
		}
	case <-time.After(deadline):
		b.t.Fatal("the run does not end")
	}
}

func (b *testBundle) eventually(what string, ok func() bool) {
	b.t.Helper()
	end := time.After(deadline)
	for !ok() {
		select {
		case <-end:
			b.t.Fatalf("%s: not so", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (b *testBundle) ready(id string) {
	b.t.Helper()
	b.eventually("the trigger is ready", func() bool { t := b.get(id); return t.Status == trigger.Ready && t.Settled() })
}

// inError waits for a trigger to be in error with a message that holds words.
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
	if err := conn.Flush(); err != nil {
		b.t.Fatal(err)
	}
}

// stream makes a stream that holds a subject.
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
