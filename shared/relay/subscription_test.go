package relay

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"containertriggers/shared/domain/trigger"
)

// A delivery that reads its target again may see an update before follow does.
func TestUpdate_MovesTheSubscriptionEvenIfADeliveryReadItFirst(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	run := b.newRun(b.shard, "", discard)
	run.deliveries = t.Context()
	id := b.create("before", "")
	if err := run.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.close)
	b.ready(id)
	b.update(id, `{"nats_config":{"subject":"after"}}`)
	held := run.subscriptions[id]
	b.eventually("the delivery sees the update", func() bool {
		held.refresh(t.Context())
		return held.target.Load().Trigger.NATS.Subject == "after"
	})
	if err := run.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.ready(id)
	conn := b.publisher()
	b.publish(conn, "after", "1")
	b.eventually("it arrives", func() bool { return b.count() == 1 })
}

func TestSameSource_ComparesTheConfigAndTheSecret(t *testing.T) {
	t.Parallel()
	opened := trigger.Trigger{NATS: &trigger.NATS{Subject: "s"}, SealedSecret: []byte("one")}
	h := &subscription{opened: opened}
	same := opened
	same.Name, same.UpdatedAt = "another", time.Now()
	if !h.sameSource(same) {
		t.Error("another name is taken for another source")
	}
	for what, other := range map[string]trigger.Trigger{
		"another subject": {NATS: &trigger.NATS{Subject: "t"}, SealedSecret: []byte("one")},
		"another secret":  {NATS: &trigger.NATS{Subject: "s"}, SealedSecret: []byte("two")},
	} {
		if h.sameSource(other) {
			t.Errorf("%s is not seen", what)
		}
	}
}

func TestCall_SlowContainersLeaveConnectionsToOtherTriggers(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	run := b.newRun(b.shard, "", discard)
	// Each of two triggers has a connection to its server and 5 calls of its own. Of the 8
	// connections that remain, one trigger may have one, because 7 are as many as it has then.
	run.connections, run.deliveries = newBudget(20), t.Context()
	const most = 6
	slow, other := b.create("slow", ""), b.create("other", "")
	released := make(chan struct{})
	b.answers(func(body string) int {
		if body != "quick" {
			<-released
		}
		return http.StatusOK
	})
	t.Cleanup(run.close)
	t.Cleanup(func() { close(released) })
	if err := run.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.ready(slow)
	b.ready(other)
	conn := b.publisher()
	for i := range 3 * most {
		b.publish(conn, "slow", strconv.Itoa(i))
	}
	calls := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.calls
	}
	b.eventually("all that may be is under way", func() bool {
		return calls() == most && run.waiting() == 1
	})
	b.publish(conn, "other", "quick")
	b.eventually("the other one is called", func() bool { return b.count() == 1 })
	if got := calls(); got != most+1 {
		t.Errorf("%d calls were made", got)
	}
}

// waiting returns the number of triggers with a call that waits for a connection.
func (r *shardRun) waiting() int {
	r.connections.mu.Lock()
	defer r.connections.mu.Unlock()
	return len(r.connections.waiting)
}
