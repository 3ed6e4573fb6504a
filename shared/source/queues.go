package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/queue"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
)

// Queues makes claims and event source mappings match SQS triggers.
type Queues struct {
	Home     queue.Home
	Sealer   seal.Sealer
	Claims   store.Claims
	Mappings eventsource.Mappings
	Triggers store.Triggers
	Relay    Relay
	Now      func() time.Time
}

// Apply sets up the delivery of the trigger's queue, after it has verified that the
// trigger's key may use the queue. It removes the set-up of an earlier config first. If
// the new config is invalid, nothing remains set up. Apply returns [eventsource.ErrPending]
// if a mapping must be changed and cannot be changed now.
func (q Queues) Apply(ctx context.Context, t trigger.Trigger) error {
	wanted, err := q.verifyAndClaim(ctx, t)
	_, wrong := errors.AsType[*queue.Problem](err)
	switch {
	case errors.Is(err, queue.ErrForeign):
		if err := q.releaseQueues(ctx, t, ""); err != nil {
			return err
		}
		return q.Relay.Apply(ctx, t)
	case wrong:
		return errors.Join(q.releaseQueues(ctx, t, ""), q.Relay.unassign(ctx, t), err)
	case err != nil:
		return err
	}
	if err := q.releaseQueues(ctx, t, wanted.ARN); err != nil {
		return err
	}
	if !eventsource.Supports(wanted) {
		// The claim still keeps other triggers from the queue.
		if err := q.unmap(ctx, wanted.ARN); err != nil {
			return err
		}
		return q.Relay.Apply(ctx, t)
	}
	if err := q.Relay.unassign(ctx, t); err != nil {
		return err
	}
	return q.mapTo(ctx, t, wanted)
}

// mapTo maps the queue that the trigger has claimed, and records the mapping.
func (q Queues) mapTo(ctx context.Context, t trigger.Trigger, wanted queue.Queue) error {
	claim, err := q.Claims.Queue(ctx, wanted.ARN)
	if errors.Is(err, store.ErrNotFound) {
		return eventsource.ErrPending // another run has just released the queue
	}
	if err != nil {
		return err
	}
	id, err := q.Mappings.Apply(ctx, wanted, claim.MappingID, !t.Paused())
	if err != nil || id == claim.MappingID {
		return err
	}
	return q.Claims.SetMapping(ctx, wanted.ARN, t.ID, id)
}

// unmap removes the mappings of a queue that the trigger has claimed.
func (q Queues) unmap(ctx context.Context, arn string) error {
	claim, err := q.Claims.Queue(ctx, arn)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return q.Mappings.Remove(ctx, arn, claim.MappingID)
}

// Remove undoes Apply, even if Apply was interrupted. It returns [eventsource.ErrPending]
// like Apply.
func (q Queues) Remove(ctx context.Context, t trigger.Trigger) error {
	if err := q.Relay.Remove(ctx, t); err != nil {
		return err
	}
	if err := q.releaseQueues(ctx, t, ""); err != nil {
		return err
	}
	return q.Claims.Forget(ctx, t.ID)
}

// Drifted reports whether a ready trigger lacks its claim or mapping, or has a wrong one.
// The caller passes all mappings by the queue's ARN, from [eventsource.Mappings.All].
// Drifted does not check whether the queue is mapped to the right one of the two
// dispatchers, because that requires the owner's key.
func (q Queues) Drifted(ctx context.Context, t trigger.Trigger, mapped map[string][]eventsource.Mapping) (bool, error) {
	if t.Relay != "" {
		return q.Relay.Drifted(t), nil
	}
	held, err := q.Claims.Held(ctx, t.ID)
	if t.Paused() && len(held) == 0 {
		return false, err // a trigger of the relay has no claim on a foreign queue
	}
	if err != nil || len(held) != 1 {
		return err == nil, err
	}
	of := mapped[held[0]]
	if t.Paused() {
		return slices.ContainsFunc(of, func(m eventsource.Mapping) bool { return !m.Disabled }), nil
	}
	return len(of) != 1 || !of[0].UpToDate, nil
}

// verifyAndClaim verifies that the trigger's key may use its queue, then claims the queue.
func (q Queues) verifyAndClaim(ctx context.Context, t trigger.Trigger) (queue.Queue, error) {
	key, err := q.Sealer.Open(ctx, trigger.Resource, t.ID, t.SealedSecret)
	if err != nil {
		return queue.Queue{}, err
	}
	found, err := q.Home.Describe(ctx, *t.SQS, key)
	if err != nil {
		return queue.Queue{}, err
	}
	err = q.Claims.Claim(ctx, store.QueueClaim{
		Queue: found.ARN, TriggerID: t.ID, ContainerID: t.ContainerID, QueueURL: t.SQS.QueueURL, MaxReceives: found.MaxReceives,
	})
	if claimed, ok := errors.AsType[*store.ClaimedError](err); ok {
		return queue.Queue{}, q.belongsToAnother(ctx, t, claimed.TriggerID)
	}
	return found, err
}

// belongsToAnother returns the problem of a queue that another trigger has. It names that
// trigger only if both belong to one project, so that the owner may read it.
func (q Queues) belongsToAnother(ctx context.Context, t trigger.Trigger, holderID string) error {
	holder, err := q.Triggers.Get(ctx, holderID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	which := "another trigger"
	if holder.OrganizationID == t.OrganizationID && holder.ProjectID == t.ProjectID {
		which = fmt.Sprintf("the trigger %q (%s)", holder.Name, holder.ID)
	}
	return &queue.Problem{Message: "the queue belongs to " + which + ", and a queue can have only one trigger; this trigger takes over once that one is deleted or uses another queue"}
}

// releaseQueues stops the delivery of all queues that the trigger has claimed, except one. It
// removes a queue's mapping before the claim, so that a mapping without a claim is an
// orphan. Lambda may still deliver for up to a minute; the dispatcher then finds another
// claim or none.
func (q Queues) releaseQueues(ctx context.Context, t trigger.Trigger, except string) error {
	held, err := q.Claims.Held(ctx, t.ID)
	if err != nil {
		return err
	}
	for _, arn := range held {
		if arn == except {
			continue
		}
		if err := q.unmap(ctx, arn); err != nil {
			return err
		}
		waiting, err := q.Claims.Release(ctx, arn, t.ID)
		if err != nil {
			return err
		}
		for _, id := range waiting {
			if err := q.Triggers.Requeue(ctx, id, q.Now()); err != nil {
				// The trigger is in error, so sweep finds it.
				slog.WarnContext(ctx, "requeuing a trigger that waits for the queue failed", "trigger_id", id, "queue", arn, "error", err)
			}
		}
	}
	return nil
}
