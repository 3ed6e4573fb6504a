package main

import (
	"context"

	"containertriggers/shared/auth"
	"containertriggers/shared/container"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/table"
)

type function struct {
	containers table.Containers
}

func (f function) operation() httpapi.Operation[container.Container] {
	return httpapi.Operation[container.Container]{Resource: container.Resource, Read: f.read, Do: f.do}
}

func (f function) read(ctx context.Context, r httpapi.Request) (container.Container, error) {
	return f.containers.Get(ctx, r.ID)
}

func (f function) do(ctx context.Context, caller auth.Caller, r httpapi.Request, found container.Container) (any, error) {
	if err := r.MayWrite(caller, container.Resource, found.Region, found.Owner); err != nil {
		return nil, err
	}
	return f.containers.MarkDeleting(ctx, found.ID)
}
