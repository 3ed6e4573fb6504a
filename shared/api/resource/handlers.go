// Package resource implements the API's operations get, list, update and delete for
// triggers, containers and namespaces. The operation create differs for each of them.
package resource

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/listing"
	"containertriggers/shared/platform/backoff"
)

// Resource is a trigger, a container or a namespace.
type Resource[R any] interface {
	// Location returns the region that the resource is in and its owner.
	Location() (region string, owner auth.Owner)
	// CurrentGeneration returns a number that grows with each effective change.
	CurrentGeneration() int64
	// ChangedBy returns the resource with the change as its last one, if it keeps that.
	ChangedBy(change auth.Change) R
	// Answered returns the resource as a deployment of that domain answers it at a time.
	Answered(domain string, at time.Time) R
}

// Store stores one kind of resources. Package store implements it.
type Store[R any] interface {
	Get(ctx context.Context, id string) (R, error)
	// Update replaces old. If old is no longer the stored version, it returns
	// store.ErrSuperseded and the current version.
	Update(ctx context.Context, old, updated R) (current R, err error)
	// MarkDeletingBy marks the resource for deletion.
	MarkDeletingBy(ctx context.Context, id string, by auth.Change) (R, error)
	// List returns a page and the number of all resources that match the query.
	List(ctx context.Context, query listing.Query) ([]R, int, error)
}

// Handlers makes the operations of one kind of resources.
type Handlers[R Resource[R]] struct {
	// Name is the contract's name for the kind, as errors give it.
	Name  string
	Store Store[R]
}

// mayRead returns nil if the found resource is in the request's region and the caller may
// read it. Otherwise it returns not_found, as if the resource did not exist.
func (h Handlers[R]) mayRead(caller auth.Principal, r httpapi.Request, found R) error {
	region, owner := found.Location()
	if region != r.Region {
		return apierr.NotFound(h.Name, r.ID)
	}
	return caller.MayRead(h.Name, r.ID, owner)
}

// mayWrite returns nil if the caller may read and change the found resource. Otherwise it
// returns not_found or permissions_denied.
func (h Handlers[R]) mayWrite(caller auth.Principal, r httpapi.Request, found R) error {
	if err := h.mayRead(caller, r, found); err != nil {
		return err
	}
	return caller.MayWrite(h.Name)
}

// find returns the resource with the request's ID.
func (h Handlers[R]) find(ctx context.Context, r httpapi.Request) (R, error) {
	return h.Store.Get(ctx, r.ID)
}

// Get returns the operation that answers a resource.
func (h Handlers[R]) Get() httpapi.Operation[R] {
	return httpapi.Operation[R]{
		Resource: h.Name, Read: h.find,
		Do: func(_ context.Context, caller auth.Principal, r httpapi.Request, found R) (any, error) {
			return found.Answered(r.Domain, r.At), h.mayRead(caller, r, found)
		},
	}
}

// Delete returns the operation that marks a resource for deletion and answers it. It works
// in every status. The table's stream starts reconcile, which deletes the resource.
func (h Handlers[R]) Delete() httpapi.Operation[R] {
	return httpapi.Operation[R]{
		Resource: h.Name, Read: h.find,
		Do: func(ctx context.Context, caller auth.Principal, r httpapi.Request, found R) (any, error) {
			if err := h.mayWrite(caller, r, found); err != nil {
				return nil, err
			}
			deleting, err := h.Store.MarkDeletingBy(ctx, r.ID, caller.Change(auth.Delete, r.At))
			if err != nil {
				return nil, err
			}
			return deleting.Answered(r.Domain, r.At), nil
		},
	}
}

// Change returns a resource with the changes that a request's body asks for, and with its
// secrets sealed. If the body changes nothing, it returns the same generation.
type Change[R any] func(ctx context.Context, old R, body []byte) (updated R, err error)

// Update returns the operation that applies the request's body to a resource. If another
// update wins the race, the operation applies the body to the new version and retries. After
// the deadline it returns too_many_requests.
func (h Handlers[R]) Update(change Change[R]) httpapi.Operation[R] {
	return h.Apply(auth.Update, change)
}

// Apply is Update for a change that has another name.
func (h Handlers[R]) Apply(operation auth.Operation, change Change[R]) httpapi.Operation[R] {
	return httpapi.Operation[R]{
		Resource: h.Name, Read: h.find,
		Do: func(ctx context.Context, caller auth.Principal, r httpapi.Request, found R) (any, error) {
			if err := h.mayWrite(caller, r, found); err != nil {
				return nil, err
			}
			for tries := 0; ; tries++ {
				updated, err := change(ctx, found, r.Body)
				if err != nil {
					return nil, err
				}
				if updated.CurrentGeneration() == found.CurrentGeneration() {
					return updated.Answered(r.Domain, r.At), nil
				}
				updated = updated.ChangedBy(caller.Change(operation, r.At))
				found, err = h.Store.Update(ctx, found, updated)
				updated = updated.Answered(r.Domain, r.At)
				switch {
				case err != nil && ctx.Err() != nil:
					return h.outcome(ctx, r, updated)
				case !errors.Is(err, store.ErrSuperseded) || errors.Is(err, store.ErrNotFound):
					return updated, err
				}
				if backoff.AfterConflict(ctx, tries) != nil {
					return nil, apierr.TooManyRequests(1)
				}
			}
		},
	}
}

// outcomeTime limits the read of [Handlers.outcome]. It ends before the function does.
const outcomeTime = 3 * time.Second

// outcome answers an update if the deadline has cut off its write. The write may have taken
// effect, so outcome reads the resource again. If the resource is not the updated one, it
// returns too_many_requests: the caller may repeat an update without harm.
func (h Handlers[R]) outcome(ctx context.Context, r httpapi.Request, updated R) (any, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outcomeTime)
	defer cancel()
	if current, err := h.Store.Get(ctx, r.ID); err == nil {
		got, gotErr := json.Marshal(current.Answered(r.Domain, r.At))
		want, wantErr := json.Marshal(updated)
		if gotErr == nil && wantErr == nil && bytes.Equal(got, want) {
			return updated, nil
		}
	}
	return nil, apierr.TooManyRequests(1)
}

// List returns the operation that answers a page of the resources that the caller may read.
// The name is the answer's field for them, and parse parses the query string.
func (h Handlers[R]) List(name string, parse func(region string, query url.Values) (listing.Query, error)) httpapi.Operation[listing.Query] {
	empty := page[R]{name: name, rows: []R{}}
	return httpapi.Operation[listing.Query]{
		Resource: h.Name, NotServed: empty,
		Read: func(_ context.Context, r httpapi.Request) (listing.Query, error) {
			return parse(r.Region, r.Query)
		},
		Do: func(ctx context.Context, caller auth.Principal, r httpapi.Request, query listing.Query) (any, error) {
			query, ok := query.Within(caller)
			if !ok {
				return empty, nil
			}
			rows, total, err := h.Store.List(ctx, query)
			for i := range rows {
				rows[i] = rows[i].Answered(r.Domain, r.At)
			}
			return page[R]{name, rows, total}, err
		},
	}
}

// page marshals to the answer of a list: {"<name>": [...], "total_count": n}.
type page[R any] struct {
	name  string
	rows  []R
	total int
}

// MarshalJSON returns the rows under the page's name, followed by the count.
func (p page[R]) MarshalJSON() ([]byte, error) {
	rows, err := json.Marshal(p.rows)
	if err != nil {
		return nil, err
	}
	count, err := json.Marshal(p.total)
	if err != nil {
		return nil, err
	}
	text := append([]byte(`{"`+p.name+`":`), rows...)
	return append(append(append(text, `,"total_count":`...), count...), '}'), nil
}
