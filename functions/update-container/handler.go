package main

import (
	"context"
	"fmt"
	"time"

	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/container"
)

type function struct {
	triggers store.Triggers
	sealer   seal.Sealer
	rules    container.Rules
	now      func() time.Time
}

// change returns the container after a PATCH, with its secrets encrypted. It refuses a
// timeout for which the relay cannot deliver the container's triggers.
func (f function) change(ctx context.Context, old container.Container, body []byte) (container.Container, error) {
	updated, secrets, err := old.Update(body, f.rules, f.now())
	if err != nil {
		return updated, err
	}
	if updated.Timeout > max(old.Timeout, container.MaxRelayTimeout) {
		onRelay, err := f.triggers.AnyOnRelay(ctx, old.ID)
		if err != nil {
			return updated, err
		}
		if onRelay {
			return updated, apierr.InvalidArgument("timeout", apierr.Constraint, fmt.Sprintf(
				"must be at most %s, because the container has triggers on a NATS subject or on a queue that the relay reads", container.MaxRelayTimeout))
		}
	}
	return secrets.Seal(updated, f.sealer.For(ctx, container.Resource, old.ID))
}
