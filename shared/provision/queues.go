package provision

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

// Queues makes queues and their mappings match SQS triggers.
type Queues struct {
	Home     queue.Home
	Sealer   seal.Sealer
	Claims   table.Claims
	Mappings mapping.Mappings
	Triggers table.Triggers
	Relayed  Relayed
	Now      func() time.Time
}

// Apply has the messages of the trigger's queue delivered, once its key has been
// shown to be able to read the queue. What an earlier config had set up goes
// first; where the present one does not work, nothing is left set up.
func (q Queues) Apply(ctx context.Context, t trigger.Trigger) error {
	wanted, err := q.prove(ctx, t)
	_, wrong := errors.AsType[*queue.Problem](err)
	switch {
	case errors.Is(err, queue.ErrElsewhere):
		if err := q.letGo(ctx, t, ""); err != nil {
			return err
		}
		return q.Relayed.Apply(ctx, t)
	case wrong:
		return errors.Join(q.letGo(ctx, t, ""), q.Relayed.takeBack(ctx, t), err)
	case err != nil:
		return err
	}
	if err := q.letGo(ctx, t, wanted.ARN); err != nil {
		return err
	}
	if !mapping.Possible(wanted) {
		// Its claim keeps others away from it all the same.
		if err := q.Mappings.Remove(ctx, wanted.ARN); err != nil {
			return err
		}
		return q.Relayed.Apply(ctx, t)
	}
	if err := q.Relayed.takeBack(ctx, t); err != nil {
		return err
	}
	return q.Mappings.Put(ctx, wanted)
}

// Remove undoes all that Apply may have done.
func (q Queues) Remove(ctx context.Context, t trigger.Trigger) error {
	if err := q.Relayed.Remove(ctx, t); err != nil {
		return err
	}
	if err := q.letGo(ctx, t, ""); err != nil {
		return err
	}
	return q.Claims.Forget(ctx, t.ID)
}

// Drifted says whether a trigger that is ready lacks a queue or its mapping, or
// has another than it should. What Lambda has mapped, by the queue's ARN, the
// caller knows from [mapping.Mappings.All]. Which of the two dispatchers suits a
// queue only its owner's key could tell: that is not looked at.
func (q Queues) Drifted(ctx context.Context, t trigger.Trigger, mapped map[string][]mapping.Mapped) (bool, error) {
	if t.Relay != "" {
		return q.Relayed.Drifted(t), nil
	}
	held, err := q.Claims.Held(ctx, t.ID)
	if err != nil || len(held) != 1 {
		return err == nil, err
	}
	of := mapped[held[0]]
	return len(of) != 1 || !of[0].AsWanted, nil
}

// prove shows that the trigger's key can read its queue, and claims the queue.
func (q Queues) prove(ctx context.Context, t trigger.Trigger) (queue.Queue, error) {
	key, err := q.Sealer.Open(ctx, trigger.Resource, t.ID, t.SealedSecret)
	if err != nil {
		return queue.Queue{}, err
	}
	found, err := q.Home.Describe(ctx, *t.SQS, key)
	if err != nil {
		return queue.Queue{}, err
	}
	err = q.Claims.Claim(ctx, table.QueueClaim{
		Queue: found.ARN, TriggerID: t.ID, ContainerID: t.ContainerID, QueueURL: t.SQS.QueueURL, MaxReceives: found.MaxReceives,
	})
	if claimed, ok := errors.AsType[*table.ClaimedError](err); ok {
		return queue.Queue{}, q.belongsToAnother(ctx, t, claimed.TriggerID)
	}
	return found, err
}

// belongsToAnother names the trigger that has the queue where it is of the same
// project: who can read the one can read the other.
func (q Queues) belongsToAnother(ctx context.Context, t trigger.Trigger, holderID string) error {
	holder, err := q.Triggers.Get(ctx, holderID)
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
func (q Queues) letGo(ctx context.Context, t trigger.Trigger, except string) error {
	held, err := q.Claims.Held(ctx, t.ID)
	if err != nil {
		return err
	}
	for _, arn := range held {
		if arn == except {
			continue
		}
		if err := q.Mappings.Remove(ctx, arn); err != nil {
			return err
		}
		waiting, err := q.Claims.Release(ctx, arn, t.ID)
		if err != nil {
			return err
		}
		for _, id := range waiting {
			if err := q.Triggers.Reopen(ctx, id, q.Now()); err != nil {
				// It is in error, so that sweep finds it.
				slog.WarnContext(ctx, "a trigger that waits for the queue was not told", "trigger_id", id, "queue", arn, "error", err)
			}
		}
	}
	return nil
}
