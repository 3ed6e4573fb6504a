package store

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/environment"
	"containertriggers/shared/domain/namespace"
)

// Namespaces is the table of namespaces. Whatever creates, removes or lists namespaces must
// have Counts.
type Namespaces struct {
	Client *dynamodb.Client
	Table  string

	Counts    Counts
	Snapshots Snapshots
}

func (n Namespaces) rows() rows[namespaceRow] {
	return rows[namespaceRow]{n.Client, n.Table, namespace.Resource, n.Counts}
}

// in returns the counts that a namespace is in.
func (n Namespaces) in(ns namespace.Namespace) []membership {
	return n.Counts.of(ns.ProjectID, membership{of: scopeOfOwner(namespace.Resource, ownerKey(ns.Region, ns.OrganizationID))})
}

// Get returns a namespace, or ErrNotFound if there is none.
func (n Namespaces) Get(ctx context.Context, id string) (namespace.Namespace, error) {
	row, err := n.rows().get(ctx, id)
	return row.namespace(), err
}

// Create adds a namespace under its new ID. It is idempotent, so a caller may repeat it
// after a lost answer.
func (n Namespaces) Create(ctx context.Context, ns namespace.Namespace) error {
	return n.rows().create(ctx, creation[namespaceRow]{id: ns.ID, row: newNamespaceRow(ns), in: n.in(ns)})
}

// Update replaces the fields that a user may change. If the row is no longer of old's
// generation, it returns ErrSuperseded and the current namespace; the error wraps
// ErrNotFound if there is none.
func (n Namespaces) Update(ctx context.Context, old, updated namespace.Namespace) (current namespace.Namespace, err error) {
	row := newNamespaceRow(updated)
	found, err := n.rows().update(ctx, old.ID,
		"SET #name = :name, #description = :description, #tags = :tags, #environment_variables = :environment, "+
			"#secret_environment_variables = :variables, #updated_at = :updated, #generation = :generation",
		"#generation = :old",
		map[string]any{
			"name": row.Name, "description": row.Description, "tags": row.Tags,
			"environment": row.Environment, "variables": row.Variables,
			"updated": row.UpdatedAt, "generation": row.Generation, "old": old.Generation,
		})
	return found.namespace(), err
}

// MarkDeleting sets a namespace's status to deleting and returns the namespace. From then
// on no container can be created in it. It is idempotent, and returns ErrNotFound if
// there is no such namespace.
func (n Namespaces) MarkDeleting(ctx context.Context, id string) (namespace.Namespace, error) {
	return n.MarkDeletingBy(ctx, id, auth.Change{})
}

// MarkDeletingBy does the same as MarkDeleting, and records the change through the API.
func (n Namespaces) MarkDeletingBy(ctx context.Context, id string, by auth.Change) (namespace.Namespace, error) {
	row, err := n.rows().markDeleting(ctx, id, by)
	return row.namespace(), err
}

// Remove deletes the row of a namespace that is being deleted. It does nothing if there
// is no row.
func (n Namespaces) Remove(ctx context.Context, ns namespace.Namespace) error {
	return n.rows().remove(ctx, ns.ID, n.in(ns))
}

// Deleting returns the IDs of the namespaces that are being deleted and were last
// requeued before that time, from one page of the index of unfinished rows. The first page
// comes after "", and next is "" after the last one.
func (n Namespaces) Deleting(ctx context.Context, after string, before time.Time) (ids []string, next string, err error) {
	return n.rows().deleting(ctx, after, before)
}

// Relist is as [Triggers.Relist], for the namespaces that are being deleted.
func (n Namespaces) Relist(ctx context.Context, after string, most int32) (next string, err error) {
	return n.rows().relistDeleting(ctx, after, most)
}

// Requeue makes reconcile look again at a namespace that is being deleted. It does
// nothing if there is no such namespace.
func (n Namespaces) Requeue(ctx context.Context, id string, now time.Time) error {
	return n.rows().requeue(ctx, id, now)
}

// Present returns the IDs that have a namespace.
func (n Namespaces) Present(ctx context.Context, ids []string) (map[string]bool, error) {
	return n.rows().present(ctx, ids)
}

// namespaceRow is a namespace as the table stores it.
type namespaceRow struct {
	ID             string `json:"id"`
	Region         string `json:"region"`
	OrganizationID string `json:"organization_id"`
	ProjectID      string `json:"project_id"`
	listingKeys

	Name        string                          `json:"name"`
	Description string                          `json:"description"`
	Tags        []string                        `json:"tags"`
	Environment map[string]string               `json:"environment_variables"`
	Variables   map[string]environment.Variable `json:"secret_environment_variables"`

	Status     container.Status `json:"status"`
	CreatedAt  timestamp.Time   `json:"created_at"`
	UpdatedAt  timestamp.Time   `json:"updated_at"`
	Generation int64            `json:"generation"`
}

func newNamespaceRow(n namespace.Namespace) namespaceRow {
	return namespaceRow{
		ID: n.ID, Region: n.Region, OrganizationID: n.OrganizationID, ProjectID: n.ProjectID,
		listingKeys: newListingKeys(n.Region, n.Owner, n.CreatedAt, n.ID),
		Name:        n.Name, Description: n.Description, Tags: n.Tags,
		Environment: n.Environment, Variables: n.Variables,
		Status: n.Status, CreatedAt: timestamp.Time(n.CreatedAt), UpdatedAt: timestamp.Time(n.UpdatedAt), Generation: n.Generation,
	}
}

func (r namespaceRow) namespace() namespace.Namespace {
	return namespace.Namespace{
		ID: r.ID, Region: r.Region, Owner: auth.Owner{OrganizationID: r.OrganizationID, ProjectID: r.ProjectID},
		Name: r.Name, Description: r.Description, Tags: r.Tags,
		Environment: r.Environment, Variables: r.Variables,
		Status: r.Status, CreatedAt: time.Time(r.CreatedAt), UpdatedAt: time.Time(r.UpdatedAt), Generation: r.Generation,
	}
}
