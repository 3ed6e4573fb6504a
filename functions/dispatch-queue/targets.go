package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"containertriggers/shared/container"
	"containertriggers/shared/seal"
	"containertriggers/shared/secret"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

// keptFor is for how long a target is used before it is read anew: a change of the
// trigger or its container takes that long to reach all deliveries.
const keptFor = 2 * time.Second

// errNoTarget says that a queue's messages are for nobody here.
var errNoTarget = errors.New("no trigger has the queue")

// target is where a queue's messages go.
type target struct {
	claim     table.QueueClaim
	trigger   trigger.Trigger
	container container.Container
	token     secret.Text
	read      time.Time

	mu           sync.Mutex
	errorMessage string
}

// message is the trigger's error_message, as far as this process knows.
func (t *target) message() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.errorMessage
}

func (t *target) noted(message string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errorMessage = message
}

// targets finds the targets of queues, and remembers each for a while.
type targets struct {
	claims     table.Claims
	triggers   table.Triggers
	containers table.Containers
	sealer     seal.Sealer
	now        func() time.Time

	mu    sync.Mutex
	known map[string]*target // by the queue's ARN
}

// of gives the target of a queue. [errNoTarget] where the queue has no trigger, or
// one that is being deleted or is on its way to another queue.
func (t *targets) of(ctx context.Context, queueARN string) (*target, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.known[queueARN]
	if known != nil && t.now().Sub(known.read) < keptFor {
		return known, nil
	}
	delete(t.known, queueARN)
	found, err := t.look(ctx, queueARN, known)
	if err != nil {
		return nil, err
	}
	t.known[queueARN] = found
	return found, nil
}

func (t *targets) look(ctx context.Context, queueARN string, last *target) (*target, error) {
	found := &target{read: t.now()}
	var err error
	if found.claim, err = t.claims.Queue(ctx, queueARN); errors.Is(err, table.ErrNotFound) {
		return nil, errNoTarget
	} else if err != nil {
		return nil, err
	}
	found.trigger, found.container, err = table.Lookup(ctx, t.claims.Client, t.triggers.Table, t.containers.Table, found.claim.TriggerID, found.claim.ContainerID)
	switch {
	case errors.Is(err, table.ErrNotFound):
		return nil, fmt.Errorf("%w: the trigger or its container is gone", errNoTarget)
	case err != nil:
		return nil, err
	case found.trigger.Status == trigger.Deleting:
		return nil, fmt.Errorf("%w: the trigger is being deleted", errNoTarget)
	case found.trigger.SQS == nil || found.trigger.SQS.QueueURL != found.claim.QueueURL:
		return nil, fmt.Errorf("%w: the trigger is on its way to another queue", errNoTarget)
	}
	found.errorMessage = found.trigger.ErrorMessage
	if found.container.Privacy != container.Private {
		return found, nil
	}
	if last != nil && bytes.Equal(last.container.SealedToken, found.container.SealedToken) && last.container.ID == found.container.ID {
		found.token = last.token
		return found, nil
	}
	found.token, err = t.sealer.Open(ctx, container.Resource, found.container.ID, found.container.SealedToken)
	return found, err
}
