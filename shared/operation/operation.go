// Package operation is what the API does alike to every kind of resource that it
// keeps: get, list, update and delete. Creating is each kind's own affair.
package operation

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"

	"containertriggers/shared/auth"
	"containertriggers/shared/container"
	"containertriggers/shared/fault"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/listing"
	"containertriggers/shared/secret"
	"containertriggers/shared/table"
)

// Row is a resource: a trigger or a container.
type Row[R any] interface {
	// Place is the region that the resource is in, and to whom it belongs.
	Place() (region string, owner container.Owner)
	// Revision grows with each effective change.
	Revision() int64
	// WithSecret is the resource with that sealed secret.
	WithSecret(sealed []byte) R
}

// Table is where the resources of a kind are kept.
type Table[R any] interface {
	Get(ctx context.Context, id string) (R, error)
	Update(ctx context.Context, old, updated R) (instead R, err error)
	MarkDeleting(ctx context.Context, id string) (R, error)
	List(ctx context.Context, query listing.Query) ([]R, int, error)
}

// Sealer encrypts the secret of a resource.
type Sealer interface {
	Seal(ctx context.Context, resource, id string, text secret.Text) ([]byte, error)
}

// Kind is a kind of resource.
type Kind[R Row[R]] struct {
	// Name is the contract's name for it, as errors give it.
	Name  string
	Table Table[R]
}

// mayRead is nil where what was found under the request's ID is in the request's
// region and the caller may know of it; to anybody else it does not exist.
func (k Kind[R]) mayRead(caller auth.Caller, r httpapi.Request, found R) error {
	region, owner := found.Place()
	if region != r.Region {
		return fault.NotFound(k.Name, r.ID)
	}
	return caller.MayRead(k.Name, r.ID, owner)
}

// mayWrite is nil where the caller may change what was found as well.
func (k Kind[R]) mayWrite(caller auth.Caller, r httpapi.Request, found R) error {
	if err := k.mayRead(caller, r, found); err != nil {
		return err
	}
	return caller.MayWrite(k.Name)
}

func (k Kind[R]) find(ctx context.Context, r httpapi.Request) (R, error) {
	return k.Table.Get(ctx, r.ID)
}

// Get answers a resource that the caller may read.
func (k Kind[R]) Get() httpapi.Operation[R] {
	return httpapi.Operation[R]{
		Resource: k.Name, Read: k.find,
		Do: func(_ context.Context, caller auth.Caller, r httpapi.Request, found R) (any, error) {
			return found, k.mayRead(caller, r, found)
		},
	}
}

// Delete marks a resource for deletion, in whichever status it is, and answers
// it. Who follows the table's stream does the rest.
func (k Kind[R]) Delete() httpapi.Operation[R] {
	return httpapi.Operation[R]{
		Resource: k.Name, Read: k.find,
		Do: func(ctx context.Context, caller auth.Caller, r httpapi.Request, found R) (any, error) {
			if err := k.mayWrite(caller, r, found); err != nil {
				return nil, err
			}
			return k.Table.MarkDeleting(ctx, r.ID)
		},
	}
}

// Change is a resource with what a request's body asks for, and the secret that
// the body gives, if any. A body that changes nothing leaves the revision.
type Change[R any] func(old R, body []byte) (updated R, text *secret.Text, err error)

// Update changes what the body names. Where another update came first, the body is
// applied to what that one left: the last one wins, and each one in whole. Who has
// not had his turn when the time is over is asked to come again.
func (k Kind[R]) Update(sealer Sealer, change Change[R]) httpapi.Operation[R] {
	return httpapi.Operation[R]{
		Resource: k.Name, Read: k.find,
		Do: func(ctx context.Context, caller auth.Caller, r httpapi.Request, found R) (any, error) {
			if err := k.mayWrite(caller, r, found); err != nil {
				return nil, err
			}
			for tries := 0; ; tries++ {
				updated, text, err := change(found, r.Body)
				if err != nil || updated.Revision() == found.Revision() {
					return updated, err
				}
				if text != nil {
					sealed, err := sealer.Seal(ctx, k.Name, r.ID, *text)
					if err != nil {
						return nil, err
					}
					updated = updated.WithSecret(sealed)
				}
				found, err = k.Table.Update(ctx, found, updated)
				if !errors.Is(err, table.ErrSuperseded) || errors.Is(err, table.ErrNotFound) {
					return updated, err
				}
				if table.Yield(ctx, tries) != nil {
					return nil, fault.TooManyRequests(1)
				}
			}
		},
	}
}

// List answers a page of the resources that the caller may read. The name is the
// answer's for them; parse reads the query string.
func (k Kind[R]) List(name string, parse func(region string, query url.Values) (listing.Query, error)) httpapi.Operation[listing.Query] {
	empty := page[R]{name: name, rows: []R{}}
	return httpapi.Operation[listing.Query]{
		Resource: k.Name, Elsewhere: empty,
		Read: func(_ context.Context, r httpapi.Request) (listing.Query, error) {
			return parse(r.Region, r.Query)
		},
		Do: func(ctx context.Context, caller auth.Caller, _ httpapi.Request, query listing.Query) (any, error) {
			query, ok := query.Within(caller)
			if !ok {
				return empty, nil
			}
			rows, total, err := k.Table.List(ctx, query)
			return page[R]{name, rows, total}, err
		},
	}
}

// page is the answer of a list: {"<name>": [...], "total_count": n}.
type page[R any] struct {
	name  string
	rows  []R
	total int
}

// MarshalJSON writes the rows under the page's name, before the count.
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
