package main

import (
	"cmp"
	"context"
	"time"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/namespace"
)

type function struct {
	containers store.Containers
	namespaces store.Namespaces
	sealer     seal.Sealer
	rules      container.Rules
	newID      func() string
	now        func() time.Time
}

// draft is the container that the body describes, and the namespace that it names.
type draft struct {
	container container.Container
	secrets   container.Secrets
	namespace namespace.Namespace
	// err is the error of the body or of the namespace. do returns it only to a caller that
	// may create containers.
	err error
}

// operation returns the operation that creates a container.
func (f function) operation() httpapi.Operation[draft] {
	return httpapi.Operation[draft]{Resource: container.Resource, Read: f.read, Do: f.do}
}

// read returns the draft of a body. It never returns an error itself.
func (f function) read(ctx context.Context, r httpapi.Request) (draft, error) {
	var d draft
	d.container, d.secrets, d.err = container.Create(r.Body, f.newID(), r.Region, f.rules, f.now())
	if d.err == nil && d.container.NamespaceID != "" {
		d.namespace, d.err = f.namespaces.Get(ctx, d.container.NamespaceID)
	}
	return d, nil
}

// do stores the container for its owner and returns it.
func (f function) do(ctx context.Context, caller auth.Principal, r httpapi.Request, d draft) (any, error) {
	if err := caller.MayWrite(container.Resource); err != nil {
		return nil, err
	}
	if d.err != nil {
		return nil, d.err
	}
	if d.container.NamespaceID != "" {
		if err := d.join(caller); err != nil {
			return nil, err
		}
	}
	d.container.OrganizationID = cmp.Or(d.container.OrganizationID, caller.OrganizationID)
	d.container.ProjectID = cmp.Or(d.container.ProjectID, caller.DefaultProjectID)
	if !caller.CanRead(d.container.OrganizationID, d.container.ProjectID) {
		return nil, apierr.PermissionsDenied("write", container.Resource)
	}
	created, err := d.secrets.Seal(d.container, f.sealer.For(ctx, container.Resource, d.container.ID))
	if err != nil {
		return nil, err
	}
	if created.NamespaceID == "" {
		err = f.containers.Create(ctx, created)
	} else {
		err = f.containers.CreateIn(ctx, f.namespaces, created)
	}
	return created.Answered(r.Domain, r.At), err
}

// join gives the container the owner of its namespace. It returns an error if the caller
// may not use the namespace, or if the body names another owner.
func (d *draft) join(caller auth.Principal) error {
	in := d.namespace
	if in.Region != d.container.Region {
		return apierr.NotFound(namespace.Resource, in.ID)
	}
	if err := caller.MayRead(namespace.Resource, in.ID, in.Owner); err != nil {
		return err
	}
	if in.Status == container.Deleting {
		return apierr.TransientState(namespace.Resource, in.ID, string(in.Status))
	}
	var faults apierr.Arguments
	if given := d.container.OrganizationID; given != "" && given != in.OrganizationID {
		faults.Add("organization_id", apierr.Constraint, "must be left out or be the organization of the namespace")
	}
	if given := d.container.ProjectID; given != "" && given != in.ProjectID {
		faults.Add("project_id", apierr.Constraint, "must be left out or be the project of the namespace")
	}
	d.container.OrganizationID, d.container.ProjectID = in.OrganizationID, in.ProjectID
	return faults.Err()
}
