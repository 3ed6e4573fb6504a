package relay

import (
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
