package relay

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"containertriggers/shared/trigger"
)

// A delivery that reads its target again may see an update before the loop does.
func TestAnUpdateThatADeliverySawFirstStillMovesTheSubscription(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	run := &run{Relay: b.Relay, shard: b.shard, held: map[string]*holding{}, leaving: map[string]bool{}, log: discard, deliveries: t.Context()}
	id := b.create("before", "")
	if err := run.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.close)
	b.ready(id)
	b.update(id, `{"nats_config":{"subject":"after"}}`)
	held := run.held[id]
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

func TestWhatAHoldingWasOpenedWithTellsWhetherItsSourceChanged(t *testing.T) {
	t.Parallel()
	opened := trigger.Trigger{NATS: &trigger.NATS{Subject: "s"}, SealedSecret: []byte("one")}
	h := &holding{opened: opened}
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

// A container that does not answer takes its trigger's calls and what all have in
// common, not the other triggers' own.
func TestSlowContainersLeaveOtherTriggersTheirOwnCalls(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.Concurrency = ownCalls + 10
	run := b.newRun(b.shard, "", discard)
	run.common, run.deliveries = make(chan struct{}, 5), t.Context()
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
	for i := range 2 * ownCalls {
		b.publish(conn, "slow", strconv.Itoa(i))
	}
	calls := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.calls
	}
	b.eventually("all that may be is under way", func() bool {
		return calls() == ownCalls+cap(run.common) && run.held[slow].calling.Load() == int64(b.Concurrency)
	})
	b.publish(conn, "other", "quick")
	b.eventually("the other one is called", func() bool { return b.count() == 1 })
	if got := calls(); got != ownCalls+cap(run.common)+1 {
		t.Errorf("%d calls were made", got)
	}
}
