package main

import (
	"cmp"
	"context"
	"time"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/namespace"
)

type function struct {
	namespaces store.Namespaces
	sealer     seal.Sealer
	newID      func() string
	now        func() time.Time
}

// draft is the namespace that the body describes.
type draft struct {
	namespace namespace.Namespace
	secrets   map[string]secret.Text
	// err is the error of the body. do returns it only to a caller that may create
	// namespaces.
	err error
}

// operation returns the operation that creates a namespace.
func (f function) operation() httpapi.Operation[draft] {
	return httpapi.Operation[draft]{Resource: namespace.Resource, Read: f.read, Do: f.do}
}

// read returns the draft of a body. It never returns an error itself.
func (f function) read(_ context.Context, r httpapi.Request) (draft, error) {
	var d draft
	d.namespace, d.secrets, d.err = namespace.Create(r.Body, f.newID(), r.Region, f.now())
	return d, nil
}

// do stores the namespace for its owner and returns it.
func (f function) do(ctx context.Context, caller auth.Principal, r httpapi.Request, d draft) (any, error) {
	if err := caller.MayWrite(namespace.Resource); err != nil {
		return nil, err
	}
	if d.err != nil {
		return nil, d.err
	}
	d.namespace.OrganizationID = cmp.Or(d.namespace.OrganizationID, caller.OrganizationID)
	d.namespace.ProjectID = cmp.Or(d.namespace.ProjectID, caller.DefaultProjectID)
	if !caller.CanRead(d.namespace.OrganizationID, d.namespace.ProjectID) {
		return nil, apierr.PermissionsDenied("write", namespace.Resource)
	}
	created, err := d.namespace.Seal(d.secrets, f.sealer.For(ctx, namespace.Resource, d.namespace.ID))
	if err != nil {
		return nil, err
	}
	return created.Answered(r.Domain, r.At), f.namespaces.Create(ctx, created)
}
