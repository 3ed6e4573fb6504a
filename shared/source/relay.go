package source

import (
	"context"
	"errors"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/relay/shard"
)

// ErrHandedOver means that the relay continues the work and sets the trigger's status.
var ErrHandedOver = errors.New("handed over to the relay")

// Relay assigns triggers to the relay, which holds their subscriptions and sets their
// status.
type Relay struct {
	Triggers store.Triggers
	Starter  shard.Starter
	Shards   int
}

// Apply assigns a trigger to its shard, and starts a relay if the shard has none. It
// returns ErrHandedOver once that is done.
func (r Relay) Apply(ctx context.Context, t trigger.Trigger) error {
	of := shard.Of(t.ID, r.Shards)
	if t.Relay != of || t.RelayGeneration != t.Generation {
		if err := r.Triggers.SetRelay(ctx, t.ID, of, t.Generation); err != nil {
			return err
		}
	}
	if err := r.Starter.Start(ctx, of); err != nil {
		return err
	}
	return ErrHandedOver
}

// Drifted reports whether a trigger is on the wrong shard. That happens if the number of
// shards changes.
func (r Relay) Drifted(t trigger.Trigger) bool { return t.Relay != shard.Of(t.ID, r.Shards) }

// Remove makes the relay end the subscription and delete the trigger's consumer. It
// returns ErrHandedOver until the relay has removed the trigger from the shard.
func (r Relay) Remove(ctx context.Context, t trigger.Trigger) error {
	if t.Relay == "" {
		return nil
	}
	if err := r.Starter.Start(ctx, t.Relay); err != nil {
		return err
	}
	return ErrHandedOver
}

// unassign removes a trigger from its shard, because its queue is now mapped or its config
// is invalid.
func (r Relay) unassign(ctx context.Context, t trigger.Trigger) error {
	if t.Relay == "" {
		return nil
	}
	return r.Triggers.UnsetRelay(ctx, t.ID)
}
