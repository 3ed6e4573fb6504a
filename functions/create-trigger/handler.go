package main

import (
	"context"
	"fmt"
	"time"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

type function struct {
	triggers   store.Triggers
	containers store.Containers
	sealer     seal.Sealer
	newID      func() string
	now        func() time.Time
}

// draft is the trigger that the body describes, and its container.
type draft struct {
	trigger   trigger.Trigger
	secret    *secret.Text
	container container.Container
	// err is the error of the body or of the container. do returns it only to a caller that
	// may create triggers.
	err error
}

// operation returns the operation that creates a trigger.
func (f function) operation() httpapi.Operation[draft] {
	return httpapi.Operation[draft]{Resource: trigger.Resource, Read: f.read, Do: f.do}
}

// read returns the draft of a body. It never returns an error itself.
func (f function) read(ctx context.Context, r httpapi.Request) (draft, error) {
	var d draft
	d.trigger, d.secret, d.err = trigger.Create(r.Body, f.newID(), r.Region, f.now())
	if d.err == nil {
		d.container, d.err = f.containers.Get(ctx, d.trigger.ContainerID)
	}
	return d, nil
}

// do stores the trigger with the owner of its container and returns it. The table's stream
// then starts reconcile, which sets up the source.
func (f function) do(ctx context.Context, caller auth.Principal, r httpapi.Request, d draft) (any, error) {
	if err := caller.MayWrite(trigger.Resource); err != nil {
		return nil, err
	}
	if d.err != nil {
		return nil, d.err
	}
	if d.container.Region != r.Region {
		return nil, apierr.NotFound(container.Resource, d.container.ID)
	}
	if err := caller.MayRead(container.Resource, d.container.ID, d.container.Owner); err != nil {
		return nil, err
	}
	if d.container.Status == container.Deleting {
		return nil, apierr.TransientState(container.Resource, d.container.ID, string(d.container.Status))
	}
	if d.trigger.NATS != nil && d.container.Timeout > container.MaxRelayTimeout {
		return nil, apierr.InvalidArgument("container_id", apierr.Constraint, fmt.Sprintf(
			"names a container with a timeout of %s, but calls for a NATS subject take at most %s: lower the container's timeout", d.container.Timeout, container.MaxRelayTimeout))
	}
	d.trigger.Owner = d.container.Owner
	if d.secret != nil {
		sealed, err := f.sealer.Seal(ctx, trigger.Resource, d.trigger.ID, *d.secret)
		if err != nil {
			return nil, err
		}
		d.trigger.SealedSecret = sealed
	}
	d.trigger = d.trigger.ChangedBy(caller.Change(auth.Create, r.At))
	return d.trigger.Answered(r.Domain, r.At), f.triggers.Create(ctx, f.containers, d.trigger)
}
