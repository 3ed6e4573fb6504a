package main

import (
	"context"

	"containertriggers/shared/auth"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/listing"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

type function struct {
	triggers table.Triggers
}

// page is the answer.
type page struct {
	Triggers   []trigger.Trigger `json:"triggers"`
	TotalCount int               `json:"total_count"`
}

var empty = page{Triggers: []trigger.Trigger{}}

func (f function) operation() httpapi.Operation[listing.Query] {
	return httpapi.Operation[listing.Query]{Resource: trigger.Resource, Read: f.read, Do: f.do, Elsewhere: empty}
}

func (f function) read(_ context.Context, r httpapi.Request) (listing.Query, error) {
	return listing.Triggers(r.Region, r.Query)
}

func (f function) do(ctx context.Context, caller auth.Caller, _ httpapi.Request, query listing.Query) (any, error) {
	query, ok := query.Within(caller)
	if !ok {
		return empty, nil
	}
	triggers, total, err := f.triggers.List(ctx, query)
	return page{triggers, total}, err
}
