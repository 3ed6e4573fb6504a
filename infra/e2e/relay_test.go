package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"containertriggers/infra/local/moto"
	"containertriggers/shared/aws/store"
)

// elsewhere makes a queue in an emulator of its own: another cloud, as far as the
// deployment can tell.
func (b *testBundle) elsewhere() *queue {
	b.t.Helper()
	server, err := moto.Start(context.Background(), moto.Python())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(server.Close)
	cfg := moto.Config(server.Endpoint())
	cfg.Region = "fr-par"
	q := &queue{b: b, client: sqs.NewFromConfig(cfg), endpoint: server.Endpoint(), accessKey: "local", secretKey: "secret-" + uuid.NewString()}
	name := "q-" + uuid.NewString()
	created, err := q.client.CreateQueue(b.t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		b.t.Fatal(err)
	}
	q.url = *created.QueueUrl
	return q
}

func TestRelay_DeliversAForeignQueueWithoutLoss(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.loseNothing(b.elsewhere())
}

func TestRelay_ServesAQueueWithAShortVisibilityTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	q := b.createQueue(map[string]string{"VisibilityTimeout": "5"})
	id := b.createSQS("short", q.config()).ID
	if enforcesKeys(t, "a key that may not receive is an error that heals") {
		b.expectError(id, "may not use the queue", "sqs:ReceiveMessage")
	}
	b.patch(id, `{"sqs_config":{"access_key_id":"local","secret_access_key":"operators"}}`)
	b.eventually("the trigger is ready", func() bool { return b.wait(id).Status == "ready" })
	q.send("m", nil)
	if c := b.nextCall(); c.body != "m" {
		t.Errorf("got %q", c.body)
	}
	b.eventually("the queue is empty", func() bool { return q.messages() == 0 })
	if q.claimant() != id || len(q.mappedOn()) > 0 {
		t.Errorf("claimed by %q, mapped on %v", q.claimant(), q.mappedOn())
	}

	// Once its visibility timeout is long enough, Lambda reads it.
	q.set("VisibilityTimeout", "60")
	b.patch(id, `{"sqs_config":{"access_key_id":"`+q.accessKey+`","secret_access_key":"`+q.secretKey+`"}}`)
	b.expectReady(id)
	if len(q.mappedOn()) != 1 {
		t.Errorf("mapped on %v", q.mappedOn())
	}
	q.send("n", nil)
	if c := b.nextCall(); c.body != "n" {
		t.Errorf("got %q", c.body)
	}
}

// relays returns the IDs of the relay's processes. It fails the test if there is none.
func (w *world) relays(t *testing.T) (pids []int) {
	t.Helper()
	binary, err := filepath.Abs("../../.build/relay/bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if path, err := os.Readlink(link); err != nil || path != binary || !strings.Contains(w.environmentOf(link), w.AWSEndpoint()) {
			continue // another program, or another cloud's
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		t.Fatal("no relay runs")
	}
	return pids
}

// killRelay kills the relay's processes, as Lambda's host may die.
func (w *world) killRelay(t *testing.T) {
	t.Helper()
	for _, pid := range w.relays(t) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) environmentOf(link string) string {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(link), "environ"))
	if err != nil {
		return ""
	}
	return string(text)
}

// TestRelay_KilledUnderLoadLosesNothingOfAStream has a cloud of its own: the relay that
// it kills is nobody else's.
func TestRelay_KilledUnderLoadLosesNothingOfAStream(t *testing.T) {
	t.Parallel()
	w, err := start(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := setupIn(t, w)
	target := newFlaky(t, 5)
	b.containerID = b.createContainer(map[string]any{"name": "flaky", "public_endpoint": "http://" + target.address})
	js, err := jetstream.New(b.connect(b.NATSURL()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.*"}}); err != nil {
		t.Fatal(err)
	}
	b.expectReady(b.createNATS("orders", b.NATSURL(), "orders.new").ID)

	leases := store.Leases{Client: dynamodb.NewFromConfig(b.AWSConfig()), Table: b.Function("sweep").Environment["CLAIMS_TABLE"]}
	var killed store.Lease
	const messages = 5000
	for i := range messages {
		if _, err := js.Publish(t.Context(), "orders.new", []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
		if i == messages/2 {
			b.eventually("it is under load", func() bool { return target.count() > messages/10 })
			if killed, err = leases.Get(t.Context(), "0"); err != nil {
				t.Fatal(err)
			}
			b.killRelay(t)
		}
	}
	b.eventually("the dead relay's lease is over", func() bool {
		lease, err := leases.Get(t.Context(), "0")
		return err == nil && (lease.Wanted(time.Now()) || lease.Holder != killed.Holder)
	})
	b.nextMinute() // the watchdog's run is due a minute after the last one
	b.nextMinute()
	b.eventually("all are delivered", func() bool { return target.count() == messages })
	target.mu.Lock()
	defer target.mu.Unlock()
	doubles := 0
	for _, times := range target.taken {
		if len(times) > 1 {
			doubles++
		}
	}
	t.Logf("%d messages, %d calls failed by chance, %d were taken twice: they were under way when the relay was killed", messages, target.failures, doubles)
}

// TestWatchdog_StartsASuccessorForEachRelay has a cloud of its own, in which runs of the relay
// are short. A successor has a third of a run to come, which must be enough on a busy machine.
func TestWatchdog_StartsASuccessorForEachRelay(t *testing.T) {
	t.Parallel()
	w, err := start(0, 45*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := setupIn(t, w)
	target := newFlaky(t, 1<<30) // not flaky
	// A run asks for its successor early enough for the longest call.
	b.containerID = b.createContainer(map[string]any{"name": "c", "public_endpoint": "http://" + target.address, "timeout": "5s"})
	b.expectReady(b.createNATS("n", b.NATSURL(), "s").ID)
	conn := b.connect(b.NATSURL())
	leases := store.Leases{Client: dynamodb.NewFromConfig(b.AWSConfig()), Table: b.Function("sweep").Environment["CLAIMS_TABLE"]}
	holders, published, looks := map[string]bool{}, 0, 0
	b.eventually("three runs have followed each other", func() bool {
		for range 20 {
			if err := conn.Publish("s", []byte(strconv.Itoa(published))); err != nil {
				t.Fatal(err)
			}
			published++
		}
		if looks++; looks%20 == 0 { // every second or so
			b.nextMinute()
			b.nextMinute()
		}
		lease, err := leases.Get(t.Context(), "0")
		if err != nil {
			t.Fatal(err)
		}
		if lease.Holder != "" {
			holders[lease.Holder] = true
		}
		return len(holders) > 3
	})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	b.eventually("all are delivered", func() bool { return target.count() == published })
	target.mu.Lock()
	defer target.mu.Unlock()
	if len(target.order) != published {
		t.Errorf("%d messages were taken %d times", published, len(target.order))
	}
	t.Logf("%d messages over %d runs", published, len(holders))
}
