package relay

import (
	"testing"
	"time"

	"containertriggers/shared/domain/trigger"
)

// setPaused writes a change of the trigger's pause, as the API does.
func (b *testBundle) setPaused(id string, change func(trigger.Trigger) (trigger.Trigger, error)) {
	b.t.Helper()
	current := b.get(id)
	changed, err := change(current)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.Triggers.Update(b.t.Context(), current, changed); err != nil {
		b.t.Fatal(err)
	}
}

// A pause takes effect when a call reads the row, which is before reconcile has taken the
// trigger off its shard. Messages of a stream wait at the server.
func TestPause_KeepsTheMessagesOfAStream(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	js, stream := b.stream("orders.>")
	run := b.newRun(b.shard, "", discard)
	run.deliveries = t.Context()
	id := b.create("orders.new", "")
	if err := run.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.close)
	b.ready(id)
	b.send(js, "orders.new", "before")
	b.eventually("the first message arrives", func() bool { return b.took("before") == 1 })

	held := run.subscriptions[id]
	seen := func(paused bool) {
		t.Helper()
		b.eventually("the subscription has read the row", func() bool {
			held.refresh(t.Context())
			return held.target.Load().Trigger.Paused() == paused
		})
	}
	resume := func(t trigger.Trigger) (trigger.Trigger, error) {
		resumed, _, err := t.Resume([]byte(`{}`), time.Now())
		return resumed, err
	}
	b.setPaused(id, func(t trigger.Trigger) (trigger.Trigger, error) { return t.Pause([]byte(`{}`), time.Now()) })
	seen(true)
	b.send(js, "orders.new", "during")
	b.eventually("the message comes again", func() bool {
		consumer, err := stream.Consumer(t.Context(), "trigger-"+id)
		return err == nil && consumer.CachedInfo().NumRedelivered == 1
	})
	if got := b.took("during"); got != 0 {
		t.Errorf("a paused trigger made %d calls", got)
	}
	if message := *held.failure.Load(); message != "" {
		t.Errorf("the pause is told as the failure %q of a call", message)
	}
	b.setPaused(id, resume)
	seen(false)
	b.eventually("it arrives after the pause", func() bool { return b.took("during") == 1 })

	// Off its shard, the trigger leaves its consumer at the server.
	b.setPaused(id, func(t trigger.Trigger) (trigger.Trigger, error) { return t.Pause([]byte(`{}`), time.Now()) })
	if err := b.Triggers.UnsetRelay(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.eventually("the subscription ends", func() bool {
		if err := run.follow(t.Context()); err != nil {
			t.Fatal(err)
		}
		return run.subscriptions[id] == nil
	})
	run.draining.Wait()
	b.send(js, "orders.new", "later")
	b.setPaused(id, resume)
	if err := b.Triggers.SetRelay(t.Context(), id, b.shard, b.get(id).Generation); err != nil {
		t.Fatal(err)
	}
	b.eventually("what came meanwhile arrives", func() bool {
		if err := run.follow(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b.took("later") == 1
	})
	if got := b.doubles(); got > 0 {
		t.Errorf("%d messages arrived twice", got)
	}
}
