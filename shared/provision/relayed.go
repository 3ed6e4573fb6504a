package provision

import (
	"context"
	"errors"

	"containertriggers/shared/shard"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
	"containertriggers/shared/watchdog"
)

// ErrRelays says that it is the relay that goes on from here.
var ErrRelays = errors.New("the relay goes on")

// Relayed puts triggers on the relay, which holds their subscriptions and settles
// their rows by how these are.
type Relayed struct {
	Triggers table.Triggers
	Starter  watchdog.Starter
	Shards   int
}

// Apply puts a trigger on its shard, and starts a relay there if there is none. It
// is [ErrRelays] when that is done.
func (r Relayed) Apply(ctx context.Context, t trigger.Trigger) error {
	of := shard.Of(t.ID, r.Shards)
	if t.Relay != of || t.RelayGeneration != t.Generation {
		if err := r.Triggers.SetRelay(ctx, t.ID, of, t.Generation); err != nil {
			return err
		}
	}
	if err := r.Starter.Start(ctx, of); err != nil {
		return err
	}
	return ErrRelays
}

// Drifted says whether a trigger is on another shard than it should, as when there
// are more of them now.
func (r Relayed) Drifted(t trigger.Trigger) bool { return t.Relay != shard.Of(t.ID, r.Shards) }

// Remove has the relay end the subscription, and remove what it left at a server.
// It is [ErrRelays] until the relay has taken the trigger from the shard.
func (r Relayed) Remove(ctx context.Context, t trigger.Trigger) error {
	if t.Relay == "" {
		return nil
	}
	if err := r.Starter.Start(ctx, t.Relay); err != nil {
		return err
	}
	return ErrRelays
}

// takeBack takes a trigger from the relay which has another source now, or none
// that works.
func (r Relayed) takeBack(ctx context.Context, t trigger.Trigger) error {
	if t.Relay == "" {
		return nil
	}
	return r.Triggers.UnsetRelay(ctx, t.ID)
}
