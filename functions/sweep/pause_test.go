package main

import (
	"errors"
	"testing"
	"time"

	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/domain/trigger"
)

// paused pauses a ready trigger, and says that reconcile has seen it. The source is as before.
func (b *testBundle) paused(ready trigger.Trigger) trigger.Trigger {
	b.t.Helper()
	current, err := b.triggers.Get(b.t.Context(), ready.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	paused, err := current.Pause([]byte(`{}`), time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.triggers.Update(b.t.Context(), current, paused); err != nil {
		b.t.Fatal(err)
	}
	b.observed(paused)
	return paused
}

func (b *testBundle) observed(t trigger.Trigger) {
	b.t.Helper()
	if err := b.triggers.MarkObserved(b.t.Context(), t, "", time.Now()); err != nil {
		b.t.Fatal(err)
	}
}

func TestSweep_WantsTheSourceOfAPausedTriggerPaused(t *testing.T) {
	b := setup(t)
	onQueue, _ := b.onQueue()
	cron, queue := b.paused(b.ready(daily)), b.paused(b.ready(onQueue))
	b.sweep()
	for source, paused := range map[string]trigger.Trigger{"schedule": cron, "mapping": queue} {
		if !b.reopened(paused) {
			t.Errorf("the %s of a paused trigger works, and was not found", source)
		}
	}
	if err := b.sources.Schedules.Apply(t.Context(), cron); err != nil {
		t.Fatal(err)
	}
	if err := b.sources.Queues.Apply(t.Context(), queue); err != nil && !errors.Is(err, eventsource.ErrPending) {
		t.Fatal(err)
	}
	b.observed(cron)
	b.observed(queue)
	b.sweep()
	for source, paused := range map[string]trigger.Trigger{"schedule": cron, "mapping": queue} {
		if b.reopened(paused) {
			t.Errorf("sweep repaired the %s of a paused trigger", source)
		}
	}
}

func TestSweep_WantsAPausedTriggerOffTheRelay(t *testing.T) {
	b := setup(t)
	b.sources.Relay.Shards = 1
	subscribed := b.paused(b.ready(`"nats_config":{"server_urls":["nats://n"],"subject":"s"}`))
	b.sweepWithoutRelays()
	if !b.reopened(subscribed) {
		t.Error("a paused trigger on the relay was not found")
	}
	current, err := b.triggers.Get(t.Context(), subscribed.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.sources.Relay.Apply(t.Context(), current); err != nil {
		t.Fatal(err)
	}
	b.observed(subscribed)
	b.sweepWithoutRelays()
	if b.reopened(subscribed) {
		t.Error("sweep put a paused trigger back on the relay")
	}
}
