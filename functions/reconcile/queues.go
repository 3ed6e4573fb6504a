package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"containertriggers/shared/mapping"
	"containertriggers/shared/queue"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

// queues makes queues and their mappings match SQS triggers.
type queues struct {
	home     queue.Home
	sealer   seal.Sealer
	claims   table.Claims
	mappings mapping.Mappings
	triggers table.Triggers
	relayed  relayed
	now      func() time.Time
}

// Apply has the messages of the trigger's queue delivered, once its key has been
// shown to be able to read the queue. What an earlier config had set up goes
// first; where the present one does not work, nothing is left set up.
func (q queues) Apply(ctx context.Context, t trigger.Trigger) error {
	wanted, err := q.prove(ctx, t)
	_, wrong := errors.AsType[*queue.Problem](err)
	switch {
	case errors.Is(err, queue.ErrElsewhere):
		if err := q.letGo(ctx, t, ""); err != nil {
			return err
		}
		return q.relayed.Apply(ctx, t)
	case wrong:
		return errors.Join(q.letGo(ctx, t, ""), q.relayed.takeBack(ctx, t), err)
	case err != nil:
		return err
	}
	if err := q.letGo(ctx, t, wanted.ARN); err != nil {
		return err
	}
	if !mapping.Possible(wanted) {
		// Its claim keeps others away from it all the same.
		if err := q.mappings.Remove(ctx, wanted.ARN); err != nil {
			return err
		}
		return q.relayed.Apply(ctx, t)
	}
	if err := q.relayed.takeBack(ctx, t); err != nil {
		return err
	}
	return q.mappings.Put(ctx, wanted)
}

// Remove undoes all that Apply may have done.
func (q queues) Remove(ctx context.Context, t trigger.Trigger) error {
	if err := q.relayed.Remove(ctx, t); err != nil {
		return err
	}
	if err := q.letGo(ctx, t, ""); err != nil {
		return err
	}
	return q.claims.Forget(ctx, t.ID)
}

// prove shows that the trigger's key can read its queue, and claims the queue.
func (q queues) prove(ctx context.Context, t trigger.Trigger) (queue.Queue, error) {
	key, err := q.sealer.Open(ctx, trigger.Resource, t.ID, t.SealedSecret)
	if err != nil {
		return queue.Queue{}, err
	}
	found, err := q.home.Describe(ctx, *t.SQS, key)
	if err != nil {
		return queue.Queue{}, err
	}
	err = q.claims.Claim(ctx, table.QueueClaim{
		Queue: found.ARN, TriggerID: t.ID, ContainerID: t.ContainerID, QueueURL: t.SQS.QueueURL, MaxReceives: found.MaxReceives,
	})
	if claimed, ok := errors.AsType[*table.ClaimedError](err); ok {
		return queue.Queue{}, q.belongsToAnother(ctx, t, claimed.TriggerID)
	}
	return found, err
}

// belongsToAnother names the trigger that has the queue where it is of the same
// project: who can read the one can read the other.
func (q queues) belongsToAnother(ctx context.Context, t trigger.Trigger, holderID string) error {
	holder, err := q.triggers.Get(ctx, holderID)
	if err != nil && !errors.Is(err, table.ErrNotFound) {
		return err
	}
	which := "another trigger"
	if holder.OrganizationID == t.OrganizationID && holder.ProjectID == t.ProjectID {
		which = fmt.Sprintf("the trigger %q (%s)", holder.Name, holder.ID)
	}
	return &queue.Problem{Message: "the queue belongs to " + which + ", and a queue can have one trigger only: this one takes over when that one is deleted or takes another queue"}
}

// letGo stops the delivery of all queues that the trigger has claimed, but for
// one. A queue's mapping is gone before its claim is: no message of it can reach
// this trigger when the next one has it.
func (q queues) letGo(ctx context.Context, t trigger.Trigger, except string) error {
	held, err := q.claims.Held(ctx, t.ID)
	if err != nil {
		return err
	}
	for _, arn := range held {
		if arn == except {
			continue
		}
		if err := q.mappings.Remove(ctx, arn); err != nil {
			return err
		}
		waiting, err := q.claims.Release(ctx, arn, t.ID)
		if err != nil {
			return err
		}
		for _, id := range waiting {
			if err := q.triggers.Reopen(ctx, id, q.now()); err != nil {
				// It is in error, so that sweep finds it.
				slog.WarnContext(ctx, "a trigger that waits for the queue was not told", "trigger_id", id, "queue", arn, "error", err)
			}
		}
	}
	return nil
}
