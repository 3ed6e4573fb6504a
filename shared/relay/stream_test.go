package relay

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/domain/trigger"
)

func TestStream_LosesNoMessage(t *testing.T) {
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

	// An update of the subject keeps the consumer. The deletion of the trigger deletes it.
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

func TestStream_GetsTheSlotsThatCoreNATSHad(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.Concurrency, b.Timing.StreamInterval = 1, time.Second
	js, conn := b.jetStream(), b.publisher()
	id := b.create("s", "")
	b.start(10 * time.Minute)
	b.ready(id)
	b.publish(conn, "s", "core")
	b.eventually("core NATS delivers", func() bool { return b.took("core") > 0 })
	b.add(js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	b.eventually("the stream delivers", func() bool {
		b.send(js, "s", "more")
		return slices.ContainsFunc(b.idsOf("more"), func(id string) bool { return strings.HasPrefix(id, "S/") })
	})
}

func TestConsumer_IsCreatedAgainIfItIsDeleted(t *testing.T) {
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

func TestDeletion_DeletesTheConsumerOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	_, stream := b.stream("s")
	id := b.create("s", "")
	run := b.start(10 * time.Minute)
	b.ready(id)
	b.end(run)
	// The relay must not deliver these messages. The container is deleted, too.
	b.publish(b.publisher(), "s", "late")
	if _, err := b.Containers.MarkDeleting(t.Context(), b.to.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.Containers.Remove(t.Context(), b.to); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Triggers.MarkDeleting(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.start(10 * time.Minute)
	b.eventually("the trigger is let go", func() bool { return b.get(id).Relay == "" })
	if _, err := stream.Consumer(t.Context(), "trigger-"+id); err == nil {
		t.Error("the consumer is still there")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls > 0 {
		t.Errorf("the container was called %d times", b.calls)
	}
}

func TestCovers_ReportsWhetherAPatternIncludesAnother(t *testing.T) {
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

// JetStream finds a consumer by its name. So a fetch may bring a message of a new stream
// with the sequence of one that the source has delivered.
func TestDeliverStream_AcknowledgesNoMessageOfAnotherStream(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	js, stream := b.stream("s")
	create := func(stream jetstream.Stream) jetstream.Consumer {
		consumer, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			t.Fatal(err)
		}
		return consumer
	}
	next := func(consumer jetstream.Consumer) jetstream.Msg {
		m, err := consumer.Next(jetstream.FetchMaxWait(deadline))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	var called []string
	call := func(_ context.Context, event invoke.Event, _ bool) error {
		called = append(called, string(event.Body))
		return nil
	}
	source := newNATSSource(sink{ctx: t.Context(), log: slog.Default(), timing: quick.withDefaults(), call: call}, trigger.NATS{}, store.Positions{})
	consumer := create(stream)
	info := consumer.CachedInfo()
	found := &foundStream{StreamInfo: stream.CachedInfo(), filter: "s"}
	known := &durable{Consumer: consumer, found: found, config: info.Config, created: info.Created, progress: newProgress(found)}
	b.send(js, "s", "old")
	source.deliverStream(known, next(consumer))

	if err := js.DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	b.add(js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	replaced, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	other := create(replaced)
	b.send(js, "s", "new")
	source.deliverStream(known, next(other))
	if m := next(other); string(m.Data()) != "new" { // an acknowledged message would not come again
		t.Errorf("%s came again", m.Data())
	}
	if !slices.Equal(called, []string{"old"}) {
		t.Errorf("the container was called for %v", called)
	}
}

// Whoever replaces a consumer may start it at the first message of the stream.
func TestProgress_KnowsMessagesBelowTheFloor(t *testing.T) {
	t.Parallel()
	s := &natsSource{}
	found := &foundStream{StreamInfo: &jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: "S"}, State: jetstream.StreamState{LastSeq: 3}}}
	p := s.progressOf(found)
	for seq := range uint64(3) {
		if !p.begin(seq+1, nil) {
			t.Errorf("%d is not new", seq+1)
		}
		p.end(seq+1, true)
	}
	p.setFloor(2)
	for seq := range uint64(3) {
		if s.progressOf(found).begin(seq+1, nil) {
			t.Errorf("%d is new again", seq+1)
		}
	}
	found.State.LastSeq = 1 // as after a restore from a backup
	if !s.progressOf(found).begin(2, nil) {
		t.Error("2 is not new after the stream has lost it")
	}
}
