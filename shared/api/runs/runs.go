// Package runs implements the API's operations on runs: list, get and delete. They read a
// run's owner from its row, so that they also work for runs of deleted triggers.
package runs

import (
	"context"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/run"
)

// List returns the operation that answers a page of runs that the caller may read.
func List(runs store.Runs) httpapi.Operation[run.Query] {
	return httpapi.Operation[run.Query]{
		Resource: run.Resource, NotServed: page{Runs: []run.Run{}},
		Read: func(_ context.Context, r httpapi.Request) (run.Query, error) {
			return run.ParseQuery(r.Region, r.Query)
		},
		Do: func(ctx context.Context, caller auth.Principal, _ httpapi.Request, query run.Query) (any, error) {
			answer := page{Runs: []run.Run{}}
			query, ok := query.Within(caller)
			if !ok {
				return answer, nil
			}
			found, next, err := runs.List(ctx, query)
			answer.Runs = append(answer.Runs, found...)
			if next != nil {
				token := run.PageToken(*next)
				answer.NextPageToken = &token
			}
			return answer, err
		},
	}
}

type page struct {
	Runs          []run.Run `json:"trigger_runs"`
	NextPageToken *string   `json:"next_page_token"`
}

// Get returns the operation that answers a run with its attempts.
func Get(runs store.Runs) httpapi.Operation[run.Run] {
	return httpapi.Operation[run.Run]{
		Resource: run.Resource, ID: id, Read: find(runs),
		Do: func(_ context.Context, caller auth.Principal, r httpapi.Request, found run.Run) (any, error) {
			return found.Details(), mayRead(caller, r, found)
		},
	}
}

// Delete returns the operation that deletes what a run says about its calls, and answers
// the run as it was.
func Delete(runs store.Runs) httpapi.Operation[run.Run] {
	return httpapi.Operation[run.Run]{
		Resource: run.Resource, ID: id, Read: find(runs),
		Do: func(ctx context.Context, caller auth.Principal, r httpapi.Request, found run.Run) (any, error) {
			if err := mayRead(caller, r, found); err != nil {
				return nil, err
			}
			if err := caller.MayWrite(run.Resource); err != nil {
				return nil, err
			}
			return found, runs.Delete(ctx, found.Key)
		},
	}
}

// id returns the ID as it is, or false if it cannot be one.
func id(given string) (string, bool) {
	_, ok := run.ParseID(given)
	return given, ok
}

// find returns the function that reads the run with the request's ID.
func find(runs store.Runs) func(context.Context, httpapi.Request) (run.Run, error) {
	return func(ctx context.Context, r httpapi.Request) (run.Run, error) {
		key, _ := run.ParseID(r.ID) // id has checked it
		return runs.Get(ctx, key)
	}
}

// mayRead returns nil if the run is in the request's region and the caller may read it.
// Otherwise it returns not_found, as if the run did not exist.
func mayRead(caller auth.Principal, r httpapi.Request, found run.Run) error {
	if found.Region != r.Region {
		return apierr.NotFound(run.Resource, r.ID)
	}
	return caller.MayRead(run.Resource, r.ID, found.Owner)
}
