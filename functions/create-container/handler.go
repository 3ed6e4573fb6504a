package main

import (
	"cmp"
	"context"
	"time"

	"containertriggers/shared/auth"
	"containertriggers/shared/container"
	"containertriggers/shared/fault"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/seal"
	"containertriggers/shared/secret"
	"containertriggers/shared/table"
)

type function struct {
	containers table.Containers
	sealer     seal.Sealer
	rules      container.Rules
	newID      func() string
	now        func() time.Time
}

// draft is the container that the body asks for.
type draft struct {
	container container.Container
	token     *secret.Text
	// err is what is wrong with the body; who may not create containers at all
	// is not told.
	err error
}

func (f function) operation() httpapi.Operation[draft] {
	return httpapi.Operation[draft]{Resource: container.Resource, Read: f.read, Do: f.do}
}

func (f function) read(_ context.Context, r httpapi.Request) (draft, error) {
	var d draft
	d.container, d.token, d.err = container.Create(r.Body, f.newID(), r.Region, f.rules, f.now())
	return d, nil
}

func (f function) do(ctx context.Context, caller auth.Caller, _ httpapi.Request, d draft) (any, error) {
	if err := caller.MayWrite(container.Resource); err != nil {
		return nil, err
	}
	if d.err != nil {
		return nil, d.err
	}
	d.container.OrganizationID = cmp.Or(d.container.OrganizationID, caller.OrganizationID)
	d.container.ProjectID = cmp.Or(d.container.ProjectID, caller.DefaultProjectID)
	if !caller.CanRead(d.container.OrganizationID, d.container.ProjectID) {
		return nil, fault.PermissionsDenied("write", container.Resource)
	}
	if d.token != nil {
		sealed, err := f.sealer.Seal(ctx, container.Resource, d.container.ID, *d.token)
		if err != nil {
			return nil, err
		}
		d.container.SealedToken = sealed
	}
	return d.container, f.containers.Create(ctx, d.container)
}
