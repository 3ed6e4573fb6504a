package relay

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

func TestShard_RefusesTriggersThatItHasNoRoomFor(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	run := b.newRun(b.shard, "", discard)
	run.connections, run.deliveries = newBudget(2*(natsConnections+minOwnCalls)), t.Context()
	t.Cleanup(run.close)
	follow := func() {
		if err := run.follow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first, second := b.create("first", ""), b.create("second", "")
	follow()
	b.ready(first)
	b.ready(second)
	third := b.create("third", "")
	follow()
	b.inError(third, "RelayShards")

	// The next run refuses the same one.
	next := b.newRun(b.shard, "", discard)
	next.connections, next.deliveries = newBudget(run.connections.size), t.Context()
	if err := next.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if next.subscriptions[third].works() || !next.subscriptions[first].works() || !next.subscriptions[second].works() {
		t.Error("the next run refuses another trigger")
	}
	next.close()

	if _, err := b.Triggers.MarkDeleting(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	b.eventually("the third one works", func() bool { follow(); return b.get(third).Status == trigger.Ready })
	if _, err := b.Triggers.MarkDeleting(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	b.eventually("it is taken from the shard", func() bool { follow(); return b.get(third).Relay == "" })
}

func TestShard_RefusesTriggersWithLongCalls(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.to.ID, b.to.Timeout = uuid.NewString(), container.MaxRelayTimeout+time.Second
	if err := b.Containers.Create(t.Context(), b.to); err != nil {
		t.Fatal(err)
	}
	id := b.create("s", "")
	b.start(10 * time.Minute)
	b.inError(id, "calls for this source take at most 10m0s")
	shorter := b.to
	shorter.Timeout, shorter.Generation = container.MaxRelayTimeout, 2
	if _, err := b.Containers.Update(t.Context(), b.to, shorter); err != nil {
		t.Fatal(err)
	}
	b.ready(id)
}

// A run of a minute stands for one of 15 minutes, and the call for one of 4 minutes.
func TestHandOver_LetsALongCallEndOnce(t *testing.T) {
	t.Parallel()
	// The run asks for its successor 40 seconds before its end, and drains 7 seconds later if
	// none comes. The call must begin between the two, and end with the run at the latest, even
	// on a busy machine.
	const length, takes = time.Minute, 16 * time.Second
	b := setup(t, nil)
	b.Timing.HandOver = 10 * time.Second
	b.to.ID, b.to.Timeout = uuid.NewString(), 30*time.Second
	if err := b.Containers.Create(t.Context(), b.to); err != nil {
		t.Fatal(err)
	}
	b.answers(func(string) int {
		<-time.After(takes)
		return http.StatusOK
	})
	js, _ := b.stream("s")
	id := b.create("s", "")
	first := b.start(length)
	b.ready(id)
	b.eventually("the run asks for a successor", func() bool {
		lease, err := b.Leases.Get(t.Context(), b.shard)
		return err == nil && lease.Ending
	})
	if _, err := js.Publish(t.Context(), "s", []byte("long")); err != nil {
		t.Fatal(err)
	}
	calls := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.calls
	}
	b.eventually("the call has begun", func() bool { return calls() == 1 })
	second := b.start(length)
	b.ended(first)
	b.eventually("the call has ended", func() bool { return b.took("long") == 1 })
	b.end(second)
	if got := calls(); got != 1 {
		t.Errorf("the container was called %d times", got)
	}
}
