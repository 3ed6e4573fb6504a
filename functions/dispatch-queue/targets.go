package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"containertriggers/shared/table"
	"containertriggers/shared/target"
	"containertriggers/shared/trigger"
)

// errNoTarget says that a queue's messages are for nobody here.
var errNoTarget = errors.New("no trigger has the queue")

// claimed is the target of a queue's messages.
type claimed struct {
	*target.Target
	claim table.QueueClaim
}

// targets finds the targets of queues, and remembers each for a while.
type targets struct {
	target.Finder
	claims table.Claims

	mu    sync.Mutex
	known map[string]claimed // by the queue's ARN
}

// of gives the target of a queue. [errNoTarget] where the queue has no trigger, or
// one that is being deleted or is on its way to another queue.
func (t *targets) of(ctx context.Context, queueARN string) (claimed, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.known[queueARN]
	if last.Fresh(t.Now()) {
		return last, nil
	}
	delete(t.known, queueARN)
	claim, err := t.claims.Queue(ctx, queueARN)
	if errors.Is(err, table.ErrNotFound) {
		return claimed{}, errNoTarget
	}
	if err != nil {
		return claimed{}, err
	}
	found, err := t.Find(ctx, claim.TriggerID, claim.ContainerID, last.Target)
	switch {
	case errors.Is(err, table.ErrNotFound):
		return claimed{}, fmt.Errorf("%w: the trigger or its container is gone", errNoTarget)
	case err != nil:
		return claimed{}, err
	case found.Trigger.Status == trigger.Deleting:
		return claimed{}, fmt.Errorf("%w: the trigger is being deleted", errNoTarget)
	case found.Trigger.SQS == nil || found.Trigger.SQS.QueueURL != claim.QueueURL:
		return claimed{}, fmt.Errorf("%w: the trigger is on its way to another queue", errNoTarget)
	}
	t.known[queueARN] = claimed{found, claim}
	return t.known[queueARN], nil
}
