package source

import (
	"context"
	"errors"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/relay/shard"
	"containertriggers/shared/relay/watchdog"
)

// ErrHandedOver means that the relay continues the work and sets the trigger's status.
var ErrHandedOver = errors.New("handed over to the relay")

// Relay assigns triggers to the relay, which holds their subscriptions and sets their
// status.
type Relay struct {
	Triggers store.Triggers
	Starter  watchdog.Starter
	Shards   int
}

// Apply assigns a trigger to its shard, and starts a relay if the shard has none. It
// returns ErrHandedOver once that is done. It takes a paused trigger off its shard, so that the
// relay can end if it has no other; the trigger's consumer stays at the server.
func (r Relay) Apply(ctx context.Context, t trigger.Trigger) error {
	if t.Paused() {
		return r.unassign(ctx, t)
	}
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
// shards changes. A paused trigger is on no shard.
func (r Relay) Drifted(t trigger.Trigger) bool {
	if t.Paused() {
		return t.Relay != ""
	}
	return t.Relay != shard.Of(t.ID, r.Shards)
}

// Remove makes the relay end the subscription and delete the trigger's consumer. It
// returns ErrHandedOver until the relay has removed the trigger from the shard.
func (r Relay) Remove(ctx context.Context, t trigger.Trigger) error {
	if keepsConsumer(t) {
		t.Relay = shard.Of(t.ID, r.Shards)
		if err := r.Triggers.SetRelay(ctx, t.ID, t.Relay, t.Generation); err != nil {
			return err
		}
	}
	if t.Relay == "" {
		return nil
	}
	if err := r.Starter.Start(ctx, t.Relay); err != nil {
		return err
	}
	return ErrHandedOver
}

// keepsConsumer reports whether a paused trigger may have a consumer that the relay has not
// deleted. The relay had the trigger before, and not at its deletion, which is a generation.
func keepsConsumer(t trigger.Trigger) bool {
	return t.Paused() && t.NATS != nil && t.Relay == "" && t.RelayGeneration != 0 && t.RelayGeneration != t.Generation
}

// unassign removes a trigger from its shard, because its queue is now mapped, its config is
// invalid, or it is paused.
func (r Relay) unassign(ctx context.Context, t trigger.Trigger) error {
	if t.Relay == "" {
		return nil
	}
	return r.Triggers.UnsetRelay(ctx, t.ID)
}
