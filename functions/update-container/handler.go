package main

import (
	"context"
	"errors"
	"time"

	"containertriggers/shared/auth"
	"containertriggers/shared/container"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
)

type function struct {
	containers table.Containers
	sealer     seal.Sealer
	rules      container.Rules
	now        func() time.Time
}

func (f function) operation() httpapi.Operation[container.Container] {
	return httpapi.Operation[container.Container]{Resource: container.Resource, Read: f.read, Do: f.do}
}

func (f function) read(ctx context.Context, r httpapi.Request) (container.Container, error) {
	return f.containers.Get(ctx, r.ID)
}

// do applies the body to the row as it was read. Where another update came
// first, it reads again and applies the body to that: the last one wins, and
// each one in whole.
func (f function) do(ctx context.Context, caller auth.Caller, r httpapi.Request, found container.Container) (any, error) {
	if err := r.MayWrite(caller, container.Resource, found.Region, found.Owner); err != nil {
		return nil, err
	}
	for {
		updated, token, err := found.Update(r.Body, f.rules, f.now())
		if err != nil || updated.Generation == found.Generation {
			return updated, err
		}
		if token != nil {
			updated.SealedToken, err = f.sealer.Seal(ctx, container.Resource, found.ID, *token)
			if err != nil {
				return nil, err
			}
		}
		err = f.containers.Update(ctx, found, updated)
		if !errors.Is(err, table.ErrSuperseded) {
			return updated, err
		}
		if found, err = f.containers.Get(ctx, found.ID); err != nil {
			return nil, err
		}
	}
}
