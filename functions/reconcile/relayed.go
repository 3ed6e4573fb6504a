package main

import (
	"context"

	"containertriggers/shared/shard"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
	"containertriggers/shared/watchdog"
)

// relayed puts triggers on the relay, which holds their subscriptions and settles
// their rows by how these are.
type relayed struct {
	triggers table.Triggers
	starter  watchdog.Starter
	shards   int
}

// Apply puts a trigger on its shard, and starts a relay there if there is none. It
// is [errRelays] when that is done.
func (r relayed) Apply(ctx context.Context, t trigger.Trigger) error {
	of := shard.Of(t.ID, r.shards)
	if t.Relay != of || t.RelayGeneration != t.Generation {
		if err := r.triggers.SetRelay(ctx, t.ID, of, t.Generation); err != nil {
			return err
		}
	}
	if err := r.starter.Start(ctx, of); err != nil {
		return err
	}
	return errRelays
}

// Remove has the relay end the subscription, and remove what it left at a server.
// It is [errRelays] until the relay has taken the trigger from the shard.
func (r relayed) Remove(ctx context.Context, t trigger.Trigger) error {
	if t.Relay == "" {
		return nil
	}
	if err := r.starter.Start(ctx, t.Relay); err != nil {
		return err
	}
	return errRelays
}

// takeBack takes a trigger from the relay which has another source now, or none
// that works.
func (r relayed) takeBack(ctx context.Context, t trigger.Trigger) error {
	if t.Relay == "" {
		return nil
	}
	return r.triggers.UnsetRelay(ctx, t.ID)
}
