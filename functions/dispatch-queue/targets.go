package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/trigger"
)

// errNoTarget is the error for a queue without a trigger.
var errNoTarget = errors.New("no trigger has the queue")

// claimed is the target of a queue, with the queue's claim.
type claimed struct {
	*resolve.Target
	claim store.QueueClaim
}

// targets resolves queues to targets, and caches them.
type targets struct {
	resolve.Resolver
	claims store.Claims

	mu    sync.Mutex
	cache map[string]claimed // by the queue's ARN
}

// get returns the target of a queue. It returns errNoTarget if the queue has no trigger,
// or if its trigger is paused, is being deleted or moves to another queue.
func (t *targets) get(ctx context.Context, queueARN string) (claimed, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.cache[queueARN]
	if last.Fresh(t.Now()) {
		return last, nil
	}
	delete(t.cache, queueARN)
	claim, err := t.claims.Queue(ctx, queueARN)
	if errors.Is(err, store.ErrNotFound) {
		return claimed{}, errNoTarget
	}
	if err != nil {
		return claimed{}, err
	}
	found, err := t.Resolve(ctx, claim.TriggerID, claim.ContainerID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return claimed{}, fmt.Errorf("%w: the trigger or its container does not exist", errNoTarget)
	case err != nil:
		return claimed{}, err
	case found.Trigger.Status == trigger.Deleting:
		return claimed{}, fmt.Errorf("%w: the trigger is being deleted", errNoTarget)
	case found.Trigger.Paused():
		return claimed{}, fmt.Errorf("%w that is not paused", errNoTarget)
	case found.Trigger.SQS == nil || found.Trigger.SQS.QueueURL != claim.QueueURL:
		return claimed{}, fmt.Errorf("%w: the trigger moves to another queue", errNoTarget)
	}
	t.cache[queueARN] = claimed{found, claim}
	return t.cache[queueARN], nil
}
