package main

import (
	"context"

	"containertriggers/shared/auth"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

type function struct {
	triggers table.Triggers
}

func (f function) operation() httpapi.Operation[trigger.Trigger] {
	return httpapi.Operation[trigger.Trigger]{Resource: trigger.Resource, Read: f.read, Do: f.do}
}

func (f function) read(ctx context.Context, r httpapi.Request) (trigger.Trigger, error) {
	return f.triggers.Get(ctx, r.ID)
}

func (f function) do(ctx context.Context, caller auth.Caller, r httpapi.Request, found trigger.Trigger) (any, error) {
	if err := r.MayWrite(caller, trigger.Resource, found.Region, found.Owner); err != nil {
		return nil, err
	}
	return f.triggers.MarkDeleting(ctx, found.ID)
}
