package main

import (
	"context"
	"time"

	"containertriggers/shared/auth"
	"containertriggers/shared/container"
	"containertriggers/shared/fault"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/seal"
	"containertriggers/shared/secret"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

type function struct {
	triggers   table.Triggers
	containers table.Containers
	sealer     seal.Sealer
	room       *room
	newID      func() string
	now        func() time.Time
}

// draft is the trigger that the body asks for, and the container it names.
type draft struct {
	trigger   trigger.Trigger
	secret    *secret.Text
	container container.Container
	// err is what is wrong with the body or the container; who may not create
	// triggers at all is not told.
	err error
}

func (f function) operation() httpapi.Operation[draft] {
	return httpapi.Operation[draft]{Resource: trigger.Resource, Read: f.read, Do: f.do}
}

func (f function) read(ctx context.Context, r httpapi.Request) (draft, error) {
	var d draft
	d.trigger, d.secret, d.err = trigger.Create(r.Body, f.newID(), r.Region, f.now())
	if d.err == nil {
		d.container, d.err = f.containers.Get(ctx, d.trigger.ContainerID)
	}
	return d, nil
}

func (f function) do(ctx context.Context, caller auth.Caller, r httpapi.Request, d draft) (any, error) {
	if err := caller.MayWrite(trigger.Resource); err != nil {
		return nil, err
	}
	if d.err != nil {
		return nil, d.err
	}
	if d.container.Region != r.Region {
		return nil, fault.NotFound(container.Resource, d.container.ID)
	}
	if err := caller.MayRead(container.Resource, d.container.ID, d.container.Owner); err != nil {
		return nil, err
	}
	if d.container.Status == container.Deleting {
		return nil, fault.TransientState(container.Resource, d.container.ID, string(d.container.Status))
	}
	d.trigger.Owner = d.container.Owner
	if err := f.room.look(ctx, d.trigger); err != nil {
		return nil, err
	}
	if d.secret != nil {
		sealed, err := f.sealer.Seal(ctx, trigger.Resource, d.trigger.ID, *d.secret)
		if err != nil {
			return nil, err
		}
		d.trigger.SealedSecret = sealed
	}
	return d.trigger, f.triggers.Create(ctx, f.containers, d.trigger)
}
