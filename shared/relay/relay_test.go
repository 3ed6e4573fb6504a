package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
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

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
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
	body, err := json.Marshal(map[string]any{
		"name": "n", "container_id": b.to.ID,
		"nats_config": map[string]any{"server_urls": urls, "subject": subject, "credentials_file_content": credentials},
	})
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
	if err := b.Triggers.Update(b.t.Context(), current, updated); err != nil {
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

func TestWhatIsInMemoryIsDeliveredWhenTheRelayIsStopped(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	release := make(chan struct{})
	b.answers(func(string) int { <-release; return http.StatusOK })
	id := b.create("s", "")
	run := b.start(10 * time.Minute)
	b.ready(id)
	const messages = 20_000
	conn := b.publisher()
	b.publish(conn, "s", numbers(0, messages)...)
	b.eventually("the server has handed all over", func() bool {
		stats, err := b.nats.Varz(nil)
		return err == nil && stats.OutMsgs >= messages
	})
	close(run.stop)
	close(release)
	b.ended(run)
	if got := b.count(); got != messages || b.doubles() > 0 {
		t.Errorf("%d of %d messages arrived, %d of them twice", got, messages, b.doubles())
	}
	if lease, err := b.Claims.Lease(t.Context(), b.shard); err != nil || lease.Holder != "" {
		t.Errorf("the lease was kept: %+v, %v", lease, err)
	}
}

// It runs alone: its runs are short, and a machine that is busy with other tests
// must not keep them from their lease.
func TestHandOversLoseAndDoubleNothing(t *testing.T) {
	b := setup(t, nil)
	id := b.create("s", "")
	runs := []*one{b.start(9 * time.Second)}
	b.ready(id)
	conn, stop, published := b.publisher(), make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ticker := time.NewTicker(2 * time.Millisecond); ; {
			select {
			case <-stop:
				published <- n
				return
			case <-t.Context().Done():
				return
			case <-ticker.C:
				if n-b.count() > 500 {
					continue // the machine is busy: what waits too long would be given up
				}
				if err := conn.Publish("s", []byte(strconv.Itoa(n))); err != nil {
					t.Error(err)
				}
				n++
			}
		}
	}()
	holders := map[string]bool{}
	for len(runs) < 4 {
		lease, err := b.Claims.Lease(t.Context(), b.shard)
		if err != nil {
			t.Fatal(err)
		}
		if holders[lease.Holder] = true; lease.Wanted(time.Now()) {
			if !lease.Ending {
				t.Fatalf("a relay ended before its successor came: %+v", lease)
			}
			runs = append(runs, b.start(9*time.Second))
			b.eventually("the successor takes over", func() bool {
				now, err := b.Claims.Lease(t.Context(), b.shard)
				return err == nil && now.Holder != lease.Holder
			})
		}
		time.Sleep(50 * time.Millisecond)
	}
	close(stop)
	total := <-published
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, run := range runs[:3] {
		b.ended(run)
	}
	b.end(runs[3])
	if got := b.count(); got != total {
		var missing []int
		for i := range total {
			if b.taken[strconv.Itoa(i)] == 0 {
				missing = append(missing, i)
			}
		}
		t.Errorf("%d of %d messages arrived; missing are %d to %d", got, total, missing[0], missing[len(missing)-1])
	}
	if got := b.doubles(); got > 0 {
		t.Errorf("%d messages were taken twice", got)
	}
	t.Logf("%d messages over 3 hand-overs, %d doubles", b.count(), b.doubles())
}

func TestALeaseKeepsOneRelayAShard(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	id := b.create("s", "")
	first := b.start(10 * time.Minute)
	b.ready(id)
	b.ended(b.start(10 * time.Minute)) // it leaves at once
	now := time.Now()
	if err := b.Claims.TakeLease(t.Context(), b.shard, "another", now, now.Add(leaseTime)); err == nil {
		t.Error("a lease that is held was taken")
	}
	// The lease of a relay that died is taken when its time is over, and a relay that
	// finds its lease taken ends.
	later := now.Add(2 * leaseTime)
	if err := b.Claims.TakeLease(t.Context(), b.shard, "another", later, later.Add(leaseTime)); err != nil {
		t.Error(err)
	}
	b.ended(first)
}

func TestANewGenerationWaitsForReconcile(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	id, other := b.create("s", ""), b.create("t", "")
	b.start(10 * time.Minute)
	b.ready(id)
	b.ready(other)
	current := b.get(id)
	updated, _, err := current.Update([]byte(`{"nats_config":{"subject":"u"}}`), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Triggers.Update(t.Context(), current, updated); err != nil {
		t.Fatal(err)
	}
	b.update(other, `{"nats_config":{"subject":"v"}}`)
	b.ready(other) // so the relay has looked at both
	if got := b.get(id); got.Status != trigger.Updating || got.Settled() {
		t.Errorf("the relay settled what is not its own yet: %s", got.Status)
	}
	if err := b.Triggers.UnsetRelay(t.Context(), id); err != nil { // it has another source now
		t.Fatal(err)
	}
	b.eventually("its subscription is gone", func() bool {
		conns, err := b.nats.Connz(nil)
		return err == nil && conns.NumConns == 1
	})
	if got := b.get(id); got.Settled() {
		t.Errorf("the relay settled what is not its own any more: %s", got.Status)
	}
}

func TestARelayEndsWhenNoTriggerNeedsIt(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	id := b.create("s", "")
	run := b.start(10 * time.Minute)
	b.ready(id)
	if _, err := b.Triggers.MarkDeleting(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.eventually("the trigger is taken from the shard", func() bool { return b.get(id).Relay == "" })
	b.ended(run)
	if conns, err := b.nats.Connz(nil); err != nil || conns.NumConns > 0 {
		t.Errorf("connections are left: %+v, %v", conns, err)
	}
}

func TestAMessageThatFailsForGoodIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.answers(func(body string) int {
		if body == "bad" {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	id := b.create("s.>", "")
	b.start(10 * time.Minute)
	b.ready(id)
	conn := b.publisher()
	if err := conn.PublishMsg(&nats.Msg{Subject: "s.one", Data: []byte("bad"), Header: nats.Header{"Kind": {"k"}}}); err != nil {
		t.Fatal(err)
	}
	b.eventually("the failure is told", func() bool { return strings.Contains(b.get(id).ErrorMessage, "400") })
	var letter Letter
	b.eventually("the letter is there", func() bool {
		page, err := sqs.NewFromConfig(mototest.Config(t)).ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &b.dead})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Messages) == 1 && json.Unmarshal([]byte(*page.Messages[0].Body), &letter) == nil
	})
	if letter.TriggerID != id || letter.Subject != "s.one" || string(letter.Payload) != "bad" || !slices.Equal(letter.Headers["Kind"], []string{"k"}) ||
		letter.ID == "" || !strings.Contains(letter.Reason, "400") || letter.PayloadBytes != 3 {
		t.Errorf("got %+v", letter)
	}
	b.mu.Lock()
	if b.calls != tries {
		t.Errorf("the container was called %d times", b.calls)
	}
	b.mu.Unlock()
	b.publish(conn, "s.two", "good")
	b.eventually("the success clears it", func() bool { return b.get(id).ErrorMessage == "" })
}

func TestASlowContainerIsToldAndNothingIsDroppedUnseen(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	release := make(chan struct{})
	b.answers(func(string) int { <-release; return http.StatusOK })
	id := b.create("s", "")
	run := b.start(10 * time.Minute)
	b.ready(id)
	const messages = maxPending + 5000
	b.publish(b.publisher(), "s", numbers(0, messages)...)
	b.eventually("it is told", func() bool { return strings.Contains(b.get(id).ErrorMessage, "slow consumer") })
	close(release)
	b.end(run)
	var dropped int
	if _, err := fmt.Sscanf(b.get(id).ErrorMessage, "slow consumer: %d messages", &dropped); err != nil {
		t.Fatal(err)
	}
	if got := b.count(); got+dropped != messages || b.doubles() > 0 {
		t.Errorf("%d arrived and %d were told as dropped, of %d", got, dropped, messages)
	}
}

func TestAnUpdateIsSeenByThatTriggerAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	const triggers = 300
	ids := make([]string, triggers)
	var creating sync.WaitGroup
	for i := range ids {
		creating.Go(func() { ids[i] = b.create(fmt.Sprintf("s.%d", i), "") })
	}
	creating.Wait()
	b.start(10 * time.Minute)
	for _, id := range ids {
		b.ready(id)
	}
	connections := func() map[uint64]bool {
		page, err := b.nats.Connz(&server.ConnzOptions{Limit: 2 * triggers})
		if err != nil {
			t.Fatal(err)
		}
		open := map[uint64]bool{}
		for _, conn := range page.Conns {
			open[conn.Cid] = true
		}
		return open
	}
	before := connections()
	b.update(ids[7], `{"nats_config":{"subject":"other"}}`)
	b.eventually("the update is followed", func() bool { return b.get(ids[7]).Settled() })
	b.eventually("the old subscription is gone", func() bool { return len(connections()) == triggers })
	kept := 0
	for id := range connections() {
		if before[id] {
			kept++
		}
	}
	if kept != triggers-1 {
		t.Errorf("%d of %d connections were kept", kept, triggers)
	}
	b.update(ids[8], `{"name":"other"}`)
	b.eventually("the update is followed", func() bool { return b.get(ids[8]).Settled() })
	conn := b.publisher()
	b.publish(conn, "s.7", "old")
	b.publish(conn, "other", "new")
	for i := range triggers {
		if i != 7 {
			b.publish(conn, fmt.Sprintf("s.%d", i), strconv.Itoa(i))
		}
	}
	b.eventually("all arrive", func() bool { return b.count() == triggers })
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken["old"] > 0 || b.taken["new"] != 1 {
		t.Errorf("got %d of the old subject and %d of the new one", b.taken["old"], b.taken["new"])
	}
}

func TestAStreamLosesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	js, stream := b.stream("orders.>")
	publish := func(from, to int) {
		for _, body := range numbers(from, to) {
			if _, err := js.Publish(t.Context(), "orders.new", []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(0, 10) // from before the trigger's time: not its own
	var mu sync.Mutex
	tried := map[string]int{}
	b.answers(func(body string) int {
		mu.Lock()
		defer mu.Unlock()
		if tried[body]++; tried[body] == 1 && strings.HasSuffix(body, "7") {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	id := b.create("orders.*", "")
	run := b.start(10 * time.Minute)
	b.ready(id)
	publish(10, 100)
	b.eventually("all arrive, also what failed at first", func() bool { return b.count() == 90 })
	b.end(run)
	publish(100, 200) // while no relay runs
	run = b.start(10 * time.Minute)
	b.eventually("what came meanwhile arrives", func() bool { return b.count() == 190 })
	if got := b.doubles(); got > 0 {
		t.Errorf("%d messages were taken twice", got)
	}

	// A new subject keeps the consumer; the deletion deletes it.
	b.update(id, `{"nats_config":{"subject":"orders.other"}}`)
	b.eventually("the update is followed", func() bool { t := b.get(id); return t.Status == trigger.Ready && t.Settled() })
	if info, err := stream.Consumer(t.Context(), "trigger-"+id); err != nil || info.CachedInfo().Config.FilterSubject != "orders.other" {
		t.Errorf("got %+v, %v", info, err)
	}
	if _, err := b.Triggers.MarkDeleting(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.eventually("the trigger is let go", func() bool { return b.get(id).Relay == "" })
	if _, err := stream.Consumer(t.Context(), "trigger-"+id); err == nil {
		t.Error("the consumer is still there")
	}
	b.ended(run)
}

func TestAConsumerThatSomebodyDeletedIsMadeAnew(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	js, stream := b.stream("s")
	id := b.create("s", "")
	b.start(10 * time.Minute)
	b.ready(id)
	if err := stream.DeleteConsumer(t.Context(), "trigger-"+id); err != nil {
		t.Fatal(err)
	}
	b.eventually("the consumer is there again", func() bool {
		_, err := stream.Consumer(t.Context(), "trigger-"+id)
		return err == nil
	})
	if _, err := js.Publish(t.Context(), "s", []byte("m")); err != nil {
		t.Fatal(err)
	}
	b.eventually("it arrives", func() bool { return b.count() == 1 })
}

func TestADeletionReachesWhatAnEarlierRunLeftBehind(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	_, stream := b.stream("s")
	id := b.create("s", "")
	run := b.start(10 * time.Minute)
	b.ready(id)
	b.end(run)
	if _, err := b.Triggers.MarkDeleting(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.start(10 * time.Minute)
	b.eventually("the trigger is let go", func() bool { return b.get(id).Relay == "" })
	if _, err := stream.Consumer(t.Context(), "trigger-"+id); err == nil {
		t.Error("the consumer is still there")
	}
}

func TestStreamsCoverSubjects(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		stream, subject string
		want            bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a.b", "a", false}, {"a", "a.b", false}, {"a.*", "a.b", true}, {"a.*", "a.*", true},
		{"a.b", "a.*", false}, {"a.>", "a.b.c", true}, {"a.>", "a.>", true}, {"a.>", "a", false}, {"a.*", "a.>", false}, {">", "a.b", true},
		{">", ">", true}, {"*", ">", false}, {"*.b", "a.b", true}, {"*.b", "*.*", false}, {"a.*.>", "a.>", false}, {"a.*.>", "a.b.c.*", true},
	} {
		if got := covers(test.stream, test.subject); got != test.want {
			t.Errorf("%s covers %s: got %t", test.stream, test.subject, got)
		}
	}
}
