package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/domain/trigger"
)

func TestRelay_DeliversPendingMessagesWhenItIsStopped(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	release := b.block()
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
	release()
	b.ended(run)
	if got := b.count(); got != messages || b.doubles() > 0 {
		t.Errorf("%d of %d messages arrived, %d of them twice", got, messages, b.doubles())
	}
	if lease, err := b.Leases.Get(t.Context(), b.shard); err != nil || lease.Holder != "" {
		t.Errorf("the lease was kept: %+v, %v", lease, err)
	}
}

// This test is not parallel. Its runs are short, and on a busy machine they could lose
// their lease.
func TestHandOver_LosesAndRepeatsNoMessage(t *testing.T) {
	b := setup(t, nil)
	handOvers(t, b, func(string) {})
	if got := b.doubles(); got > 0 {
		t.Errorf("%d messages were taken twice", got)
	}
}

// This test is not parallel either. Messages may arrive again, but with the same event
// ID.
func TestHandOver_LosesNoMessageIfTheConsumerIsDeleted(t *testing.T) {
	b := setup(t, nil)
	js, _ := b.stream("s")
	handOvers(t, b, func(id string) { deleteConsumer(t, js, "S", "trigger-"+id) })
	for body, ids := range b.ids {
		if len(ids) != 1 {
			t.Errorf("%s came with the IDs %v", body, ids)
		}
	}
}

// handOverRun is the length of a run in handOvers, and handOverCall the longest call. A run
// asks for its successor after 5 seconds. The successor then has 6.7 seconds to come: a third
// of the run, less the time for draining.
const (
	handOverRun  = 30 * time.Second
	handOverCall = 15 * time.Second
)

// handOvers publishes to a trigger during three hand-overs and calls between after each
// of them. It fails the test if a message is missing.
func handOvers(t *testing.T, b *testBundle, between func(id string)) {
	t.Helper()
	b.to.ID, b.to.Timeout = uuid.NewString(), handOverCall
	if err := b.Containers.Create(t.Context(), b.to); err != nil {
		t.Fatal(err)
	}
	id := b.create("s", "")
	runs := []*testRun{b.start(handOverRun)}
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
					continue // on a busy machine, messages could wait until their delivery fails for good
				}
				if err := conn.Publish("s", []byte(strconv.Itoa(n))); err != nil {
					t.Error(err)
				}
				n++
			}
		}
	}()
	b.eventually("three hand-overs", func() bool {
		lease, err := b.Leases.Get(t.Context(), b.shard)
		if err != nil {
			t.Fatal(err)
		}
		if lease.Wanted(time.Now()) {
			if !lease.Ending {
				t.Fatalf("a relay ended before its successor came: %+v", lease)
			}
			length := handOverRun
			if len(runs) == 3 {
				length = 10 * time.Minute // what is pending may come again after AckWait
			}
			runs = append(runs, b.start(length))
			b.eventually("the successor takes over", func() bool {
				now, err := b.Leases.Get(t.Context(), b.shard)
				return err == nil && now.Holder != lease.Holder
			})
			between(id)
		}
		return len(runs) == 4
	})
	close(stop)
	total := <-published
	if err := conn.FlushTimeout(deadline); err != nil {
		t.Fatal(err)
	}
	for _, run := range runs[:3] {
		b.ended(run)
	}
	defer func() {
		if t.Failed() {
			b.tellMissing(conn, total)
		}
	}()
	b.eventually("all arrive, also what has to come again", func() bool { return b.count() == total })
	b.end(runs[3])
	t.Logf("%d messages over 3 hand-overs, %d doubles", b.count(), b.doubles())
}

// tellMissing logs which of the messages have not arrived, and what the server knows of them.
func (b *testBundle) tellMissing(conn *nats.Conn, total int) {
	var missing []int
	b.mu.Lock()
	for n := range total {
		if b.taken[strconv.Itoa(n)] == 0 {
			missing = append(missing, n)
		}
	}
	b.mu.Unlock()
	b.t.Logf("of %d messages %d are missing: %v", total, len(missing), missing[:min(len(missing), 50)])
	js, err := jetstream.New(conn)
	if err != nil {
		b.t.Fatal(err)
	}
	for stream := range js.ListStreams(context.Background()).Info() {
		b.t.Logf("stream %s: %+v", stream.Config.Name, stream.State)
		found, err := js.Stream(context.Background(), stream.Config.Name)
		if err != nil {
			b.t.Fatal(err)
		}
		for consumer := range found.ListConsumers(context.Background()).Info() {
			b.t.Logf("consumer %+v", *consumer)
		}
	}
}

func TestLease_KeepsOneRelayPerShard(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	id := b.create("s", "")
	first := b.start(10 * time.Minute)
	b.ready(id)
	b.ended(b.start(10 * time.Minute)) // it leaves at once
	now, lease := time.Now(), b.Timing.withDefaults().LeaseTime
	if err := b.Leases.Take(t.Context(), b.shard, "another", now, now.Add(lease)); err == nil {
		t.Error("a lease that is held was taken")
	}
	// Another relay may take a lease that has expired. A relay that has lost its lease
	// ends.
	later := now.Add(2 * lease)
	if err := b.Leases.Take(t.Context(), b.shard, "another", later, later.Add(lease)); err != nil {
		t.Error(err)
	}
	// The holder may take its lease again, in case the first answer was lost.
	if err := b.Leases.Take(t.Context(), b.shard, "another", later, later.Add(lease)); err != nil {
		t.Errorf("its own holder: %v", err)
	}
	b.ended(first)
}

func TestRelay_WaitsForReconcileToAssignANewGeneration(t *testing.T) {
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
	if _, err := b.Triggers.Update(t.Context(), current, updated); err != nil {
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

func TestRelay_EndsIfTheShardHasNoTrigger(t *testing.T) {
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

func TestDeadLetters_KeepAMessageThatFailsForGood(t *testing.T) {
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
	var letter DeadLetter
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
	if b.calls != maxTries {
		t.Errorf("the container was called %d times", b.calls)
	}
	b.mu.Unlock()
	b.publish(conn, "s.two", "good")
	b.eventually("the success clears it", func() bool { return b.get(id).ErrorMessage == "" })
}

func TestTrigger_ReportsEachMessageDroppedForASlowContainer(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.MaxPending = 2000
	release := b.block()
	id := b.create("s", "")
	run := b.start(10 * time.Minute)
	b.ready(id)
	messages := b.MaxPending + 5000
	b.publish(b.publisher(), "s", numbers(0, messages)...)
	b.eventually("it is told", func() bool { return strings.Contains(b.get(id).ErrorMessage, "slow consumer") })
	release()
	b.end(run)
	var dropped int
	if _, err := fmt.Sscanf(b.get(id).ErrorMessage, "slow consumer: %d messages", &dropped); err != nil {
		t.Fatal(err)
	}
	if got := b.count(); got+dropped != messages || b.doubles() > 0 {
		t.Errorf("%d arrived and %d were told as dropped, of %d", got, dropped, messages)
	}
}

func TestCoreSubscription_LimitsPendingMessages(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	run := b.newRun(b.shard, "", discard)
	run.deliveries = t.Context()
	t.Cleanup(run.close)
	id := b.create("s", "")
	if err := run.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.ready(id)
	source := run.subscriptions[id].source.(*natsSource)
	source.subMu.Lock()
	defer source.subMu.Unlock()
	if messages, size, err := source.sub.PendingLimits(); err != nil || messages != 32768 || size != 16<<20 {
		t.Errorf("got %d messages, %d bytes, %v", messages, size, err)
	}
}

func TestUpdate_LeavesOtherSubscriptionsAlone(t *testing.T) {
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
