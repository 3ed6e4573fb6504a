package main

import (
	"context"
	"errors"
	"time"

	"containertriggers/shared/auth"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

type function struct {
	triggers table.Triggers
	sealer   seal.Sealer
	now      func() time.Time
}

func (f function) operation() httpapi.Operation[trigger.Trigger] {
	return httpapi.Operation[trigger.Trigger]{Resource: trigger.Resource, Read: f.read, Do: f.do}
}

func (f function) read(ctx context.Context, r httpapi.Request) (trigger.Trigger, error) {
	return f.triggers.Get(ctx, r.ID)
}

// do applies the body to the row as it was read. Where another update came
// first, it reads again and applies the body to that: the last one wins, and
// each one in whole.
func (f function) do(ctx context.Context, caller auth.Caller, r httpapi.Request, found trigger.Trigger) (any, error) {
	if err := r.MayWrite(caller, trigger.Resource, found.Region, found.Owner); err != nil {
		return nil, err
	}
	for {
		updated, secret, err := found.Update(r.Body, f.now())
		if err != nil || updated.Generation == found.Generation {
			return updated, err
		}
		if secret != nil {
			updated.SealedSecret, err = f.sealer.Seal(ctx, trigger.Resource, found.ID, *secret)
			if err != nil {
				return nil, err
			}
		}
		err = f.triggers.Update(ctx, found, updated)
		if !errors.Is(err, table.ErrSuperseded) {
			return updated, err
		}
		if found, err = f.triggers.Get(ctx, found.ID); err != nil {
			return nil, err
		}
	}
}
