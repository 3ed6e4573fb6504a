// Package target finds where a trigger's events go: the trigger as it is now, its
// container, and the container's token. It also keeps the trigger's error_message
// true without a write for each event.
package target

import (
	"bytes"
	"context"
	"sync"
	"time"

	"containertriggers/shared/container"
	"containertriggers/shared/invoke"
	"containertriggers/shared/seal"
	"containertriggers/shared/secret"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

// KeptFor is for how long a target is used before it is read anew: a change of the
// trigger or its container takes that long to reach all deliveries.
const KeptFor = 2 * time.Second

// Target is where a trigger's events go.
type Target struct {
	Trigger   trigger.Trigger
	Container container.Container

	token secret.Text
	route *invoke.Route
	read  time.Time

	mu           sync.Mutex
	errorMessage string
}

// Call calls the container for an event: nil after a 2xx, else an *invoke.Failure.
func (t *Target) Call(ctx context.Context, caller *invoke.Caller, event invoke.Event) error {
	return caller.Call(ctx, t.route, event)
}

// Fresh says whether the target can still be used.
func (t *Target) Fresh(now time.Time) bool { return t != nil && now.Sub(t.read) < KeptFor }

// ErrorMessage is the trigger's, as far as this process knows.
func (t *Target) ErrorMessage() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.errorMessage
}

// Note writes how the last call failed into the trigger's error_message; "" clears
// it.
func (t *Target) Note(ctx context.Context, triggers table.Triggers, message string) error {
	if err := triggers.NoteCall(ctx, t.Trigger.ID, message); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errorMessage = message
	return nil
}

// Finder finds targets.
type Finder struct {
	Triggers   table.Triggers
	Containers table.Containers
	Sealer     seal.Sealer
	Now        func() time.Time
}

// Find reads a trigger and its container. The token of a private container is
// opened, unless the last target has it open. [table.ErrNotFound] where either
// is gone.
func (f Finder) Find(ctx context.Context, triggerID, containerID string, last *Target) (*Target, error) {
	found := &Target{read: f.Now().Round(0)} // by the calendar: other clocks may stand still while Lambda keeps a function frozen
	var err error
	found.Trigger, found.Container, err = table.Lookup(ctx, f.Triggers.Client, f.Triggers.Table, f.Containers.Table, triggerID, containerID)
	if err != nil {
		return nil, err
	}
	found.errorMessage = found.Trigger.ErrorMessage
	if found.Container.Privacy == container.Private {
		if last != nil && last.Container.Privacy == container.Private && last.Container.ID == found.Container.ID &&
			bytes.Equal(last.Container.SealedToken, found.Container.SealedToken) {
			found.token = last.token
		} else if found.token, err = f.Sealer.Open(ctx, container.Resource, found.Container.ID, found.Container.SealedToken); err != nil {
			return nil, err
		}
	}
	found.route = invoke.NewRoute(found.Trigger, found.Container, found.token)
	return found, nil
}
