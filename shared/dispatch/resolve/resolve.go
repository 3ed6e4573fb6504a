// Package resolve resolves a trigger to its container and the container's token. It also
// remembers the trigger's error_message, so that a dispatcher writes it only if it changes.
package resolve

import (
	"context"
	"sync"
	"time"

	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

// TTL is how long a target is cached. A change of the trigger or its container
// reaches all deliveries within that time.
const TTL = 2 * time.Second

// Target is the destination of a trigger's events.
type Target struct {
	Trigger   trigger.Trigger
	Container container.Container

	route *invoke.Route
	read  time.Time

	mu           sync.Mutex
	errorMessage string
}

// Call calls the container for an event. It returns nil after a 2xx, and an
// *invoke.Failure otherwise.
func (t *Target) Call(ctx context.Context, client *invoke.Client, event invoke.Event) error {
	return client.Call(ctx, t.route, event)
}

// Attempt calls the container as Call does, and returns the attempt as a run keeps it. The
// answer of a success is kept only if the trigger's history has successes.
func (t *Target) Attempt(ctx context.Context, client *invoke.Client, event invoke.Event, now func() time.Time) (run.Attempt, error) {
	made := run.Attempt{StartedAt: now()}
	keepSuccess := t.Trigger.History() == trigger.HistoryAll
	status, answer, err := client.CallAndKeep(ctx, t.route, event, func(status int) bool { return keepSuccess || status > 299 })
	made.Duration, made.HTTPStatus, made.Answer = now().Sub(made.StartedAt), status, answer
	if err != nil {
		made.Error, made.Reason = err.Error(), invoke.ReasonOf(err)
	}
	return made, err
}

// Fresh reports whether the target may still be used.
func (t *Target) Fresh(now time.Time) bool { return t != nil && now.Sub(t.read) < TTL }

// ErrorMessage returns the trigger's error_message as this process last read or wrote it.
func (t *Target) ErrorMessage() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.errorMessage
}

// SetLastError stores how the last call failed as the trigger's error_message; "" clears it.
func (t *Target) SetLastError(ctx context.Context, triggers store.Triggers, message string) error {
	if err := triggers.SetLastError(ctx, t.Trigger.ID, message); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errorMessage = message
	return nil
}

// Resolver resolves triggers to targets.
type Resolver struct {
	Triggers   store.Triggers
	Containers store.Containers
	Sealer     seal.Sealer
	// Tokens caches the tokens of private containers. If it is nil, each [Resolver.Open] asks
	// KMS.
	Tokens *Tokens
	Now    func() time.Time
}

// Resolve returns a target that is ready for calls. See [Resolver.Lookup] and
// [Resolver.Open].
func (r Resolver) Resolve(ctx context.Context, triggerID, containerID string) (*Target, error) {
	found, err := r.Lookup(ctx, triggerID, containerID)
	if err != nil {
		return nil, err
	}
	if err := r.Open(ctx, found); err != nil {
		return nil, err
	}
	return found, nil
}

// Lookup reads a trigger and its container in one round trip. It returns
// store.ErrNotFound if either does not exist. The target needs [Resolver.Open] before
// its first call.
func (r Resolver) Lookup(ctx context.Context, triggerID, containerID string) (*Target, error) {
	found := &Target{read: r.Now().Round(0)} // the wall clock, because the monotonic clock may stand still while Lambda freezes a function
	var err error
	found.Trigger, found.Container, err = store.Lookup(ctx, r.Triggers.Client, r.Triggers.Table, r.Containers.Table, triggerID, containerID)
	if err != nil {
		return nil, err
	}
	found.errorMessage = found.Trigger.ErrorMessage
	return found, nil
}

// Open makes a target ready for calls. It decrypts the token of a private container, unless
// the cache has it.
func (r Resolver) Open(ctx context.Context, t *Target) error {
	var token secret.Text
	if t.Container.Privacy == container.Private {
		var err error
		if token, err = r.token(ctx, t.Container); err != nil {
			return err
		}
	}
	t.route = invoke.NewRoute(t.Trigger, t.Container, token)
	return nil
}

func (r Resolver) token(ctx context.Context, c container.Container) (secret.Text, error) {
	if token, ok := r.Tokens.get(c); ok {
		return token, nil
	}
	token, err := r.Sealer.Open(ctx, container.Resource, c.ID, c.SealedToken)
	if err == nil {
		r.Tokens.put(c, token)
	}
	return token, err
}
