package main

import (
	"context"

	"containertriggers/shared/auth"
	"containertriggers/shared/container"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/listing"
	"containertriggers/shared/table"
)

type function struct {
	containers table.Containers
}

// page is the answer.
type page struct {
	Containers []container.Container `json:"containers"`
	TotalCount int                   `json:"total_count"`
}

var empty = page{Containers: []container.Container{}}

func (f function) operation() httpapi.Operation[listing.Query] {
	return httpapi.Operation[listing.Query]{Resource: container.Resource, Read: f.read, Do: f.do, Elsewhere: empty}
}

func (f function) read(_ context.Context, r httpapi.Request) (listing.Query, error) {
	return listing.Containers(r.Region, r.Query)
}

func (f function) do(ctx context.Context, caller auth.Caller, _ httpapi.Request, query listing.Query) (any, error) {
	query, ok := query.Within(caller)
	if !ok {
		return empty, nil
	}
	containers, total, err := f.containers.List(ctx, query)
	return page{containers, total}, err
}
