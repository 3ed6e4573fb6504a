package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/environment"
	"containertriggers/shared/domain/namespace"
	"containertriggers/shared/domain/trigger"
)

// Containers is the table of containers. Whatever creates, removes or lists containers must
// have Counts.
type Containers struct {
	Client *dynamodb.Client
	Table  string

	Counts    Counts
	Snapshots Snapshots
}

func (c Containers) rows() rows[containerRow] {
	return rows[containerRow]{c.Client, c.Table, container.Resource, c.Counts}
}

// ofTriggers returns the scopes that begin and end with a container: that of its triggers.
func (c Containers) ofTriggers(ct container.Container) []scope {
	if c.Counts == (Counts{}) {
		return nil
	}
	return []scope{scopeOfContainer(trigger.Resource, ownerKey(ct.Region, ct.OrganizationID), ct.ID)}
}

// in returns the counts that a container is in.
func (c Containers) in(ct container.Container) []membership {
	return c.Counts.of(ct.ProjectID, membership{of: scopeOfOwner(container.Resource, ownerKey(ct.Region, ct.OrganizationID))})
}

// Get returns a container, or ErrNotFound if there is none.
func (c Containers) Get(ctx context.Context, id string) (container.Container, error) {
	row, err := c.rows().get(ctx, id)
	return row.container(), err
}

// Create adds a container under its new ID. It is idempotent, so a caller may repeat it
// after a lost answer.
func (c Containers) Create(ctx context.Context, ct container.Container) error {
	return c.rows().create(ctx, creation[containerRow]{id: ct.ID, row: newContainerRow(ct), in: c.in(ct), begins: c.ofTriggers(ct)})
}

// CreateIn adds a container to its namespace. It returns ErrNotFound if the namespace does
// not exist or is being deleted. It is idempotent. CreateIn marks the row, because rows of
// an earlier release have a namespace_id without a namespace. Such containers are never
// deleted as orphans.
func (c Containers) CreateIn(ctx context.Context, namespaces Namespaces, ct container.Container) error {
	return c.rows().create(ctx, creation[containerRow]{
		id: ct.ID, row: newContainerRow(ct), further: map[string]any{"in_namespace": true},
		under: parent{namespaces.Table, namespace.Resource, ct.NamespaceID}, in: c.in(ct), begins: c.ofTriggers(ct),
	})
}

// Update replaces the fields that a user may change. If the row is no longer of old's
// generation, it returns ErrSuperseded and the current container; the error wraps
// ErrNotFound if there is none.
func (c Containers) Update(ctx context.Context, old, updated container.Container) (current container.Container, err error) {
	row := newContainerRow(updated)
	found, err := c.rows().update(ctx, old.ID,
		"SET #name = :name, #description = :description, #tags = :tags, #privacy = :privacy, "+
			"#public_endpoint = :endpoint, #timeout_seconds = :timeout, #sealed_token = :token, "+
			"#secret_environment_variables = :variables, #spec = :spec, "+
			"#updated_at = :updated, #generation = :generation",
		"#generation = :old",
		map[string]any{
			"name": row.Name, "description": row.Description, "tags": row.Tags, "privacy": row.Privacy,
			"endpoint": row.PublicEndpoint, "timeout": row.TimeoutSeconds, "token": row.SealedToken,
			"variables": row.Variables, "spec": row.Spec,
			"updated": row.UpdatedAt, "generation": row.Generation, "old": old.Generation,
		})
	return found.container(), err
}

// MarkDeleting sets a container's status to deleting and returns the container. From
// then on no trigger can be created on it. It is idempotent, and returns ErrNotFound if
// there is no such container.
func (c Containers) MarkDeleting(ctx context.Context, id string) (container.Container, error) {
	return c.MarkDeletingBy(ctx, id, auth.Change{})
}

// MarkDeletingBy does the same as MarkDeleting, and records the change through the API.
func (c Containers) MarkDeletingBy(ctx context.Context, id string, by auth.Change) (container.Container, error) {
	row, err := c.rows().markDeleting(ctx, id, by)
	return row.container(), err
}

// Remove deletes the row of a container that is being deleted, and the count of its triggers.
// It does nothing if there is no row.
func (c Containers) Remove(ctx context.Context, ct container.Container) error {
	return c.rows().remove(ctx, ct.ID, c.in(ct), c.ofTriggers(ct)...)
}

// Deleting returns the IDs of the containers that are being deleted and were last
// requeued before that time, from one page of the index of unfinished rows. The first page
// comes after "", and next is "" after the last one.
func (c Containers) Deleting(ctx context.Context, after string, before time.Time) (ids []string, next string, err error) {
	return c.rows().deleting(ctx, after, before)
}

// Relist is as [Triggers.Relist], for the containers that are being deleted.
func (c Containers) Relist(ctx context.Context, after string, most int32) (next string, err error) {
	return c.rows().relistDeleting(ctx, after, most)
}

// Requeue makes reconcile look again at a container that is being deleted. It does
// nothing if there is none.
func (c Containers) Requeue(ctx context.Context, id string, now time.Time) error {
	return c.rows().requeue(ctx, id, now)
}

// OfNamespace returns the IDs of the containers in a namespace from the index, which may lag.
// It returns at most that many, or all if most is 0. It reads the containers of the
// namespace's project in the order of their creation, and stops as soon as it has enough.
func (c Containers) OfNamespace(ctx context.Context, ns namespace.Namespace, most int) ([]string, error) {
	filter := "#namespace_id = :namespace"
	input := query(c.Table, scopeOfOwner(container.Resource, ownerKey(ns.Region, ns.OrganizationID)), ns.ProjectID)
	input.FilterExpression = &filter
	maps.Copy(input.ExpressionAttributeNames, placeholders(filter))
	input.ExpressionAttributeValues[":namespace"] = &types.AttributeValueMemberS{Value: ns.ID}
	if most > 0 {
		input.Limit = aws.Int32(int32(most))
	}
	var ids []string
	for {
		page, err := c.Client.Query(ctx, input)
		if err != nil {
			return nil, fmt.Errorf("listing the containers of namespace %s: %w", ns.ID, err)
		}
		for _, item := range page.Items {
			if id, ok := item["id"].(*types.AttributeValueMemberS); ok {
				ids = append(ids, id.Value)
			}
		}
		if most > 0 && len(ids) >= most {
			return ids[:most], nil
		}
		if page.LastEvaluatedKey == nil {
			return ids, nil
		}
		input.ExclusiveStartKey, input.Limit = page.LastEvaluatedKey, nil // older containers are of other namespaces
	}
}

// InNamespaces returns the containers that [Containers.CreateIn] added, from one page of
// at most that many rows. The first page comes after "", and next is "" after the last
// one. It scans the table, so only sweep uses it.
func (c Containers) InNamespaces(ctx context.Context, after string, most int32) (list []container.Container, next string, err error) {
	rows, next, err := scan[containerRow](ctx, c.Client, c.Table, "id", "#status = :ready AND #in_namespace = :yes",
		map[string]any{"ready": container.Ready, "yes": true}, after, most)
	return convert(rows, containerRow.container), next, err
}

// Present returns the IDs that have a container.
func (c Containers) Present(ctx context.Context, ids []string) (map[string]bool, error) {
	return c.rows().present(ctx, ids)
}

// Lookup returns a trigger and its container in one round trip, or ErrNotFound if either
// does not exist.
func Lookup(ctx context.Context, client *dynamodb.Client, triggersTable, containersTable, triggerID, containerID string) (trigger.Trigger, container.Container, error) {
	var (
		tr      triggerRow
		ct      containerRow
		failure error
	)
	wanted := map[string]types.KeysAndAttributes{
		triggersTable:   {Keys: []map[string]types.AttributeValue{key(triggerID)}, ConsistentRead: aws.Bool(true)},
		containersTable: {Keys: []map[string]types.AttributeValue{key(containerID)}, ConsistentRead: aws.Bool(true)},
	}
	err := batchGet(ctx, client, wanted, func(table string, item map[string]types.AttributeValue) {
		if table == triggersTable {
			failure = errors.Join(failure, decode(item, &tr))
		} else {
			failure = errors.Join(failure, decode(item, &ct))
		}
	})
	if err = errors.Join(err, failure); err != nil {
		return trigger.Trigger{}, container.Container{}, err
	}
	if tr.ID == "" || ct.ID == "" {
		return trigger.Trigger{}, container.Container{}, ErrNotFound
	}
	return tr.trigger(), ct.container(), nil
}

// containerRow is a container as the table stores it.
type containerRow struct {
	ID             string `json:"id"`
	Region         string `json:"region"`
	OrganizationID string `json:"organization_id"`
	ProjectID      string `json:"project_id"`
	NamespaceID    string `json:"namespace_id"`
	listingKeys

	Name           string            `json:"name"`
	Description    string            `json:"description"`
	Tags           []string          `json:"tags"`
	Privacy        container.Privacy `json:"privacy"`
	PublicEndpoint string            `json:"public_endpoint"`
	TimeoutSeconds float64           `json:"timeout_seconds"`
	SealedToken    []byte            `json:"sealed_token"`
	// Variables and Spec are nil in a row that an earlier release wrote.
	Variables map[string]environment.Variable `json:"secret_environment_variables"`
	Spec      *container.Spec                 `json:"spec"`

	Status     container.Status `json:"status"`
	CreatedAt  timestamp.Time   `json:"created_at"`
	UpdatedAt  timestamp.Time   `json:"updated_at"`
	Generation int64            `json:"generation"`
}

func newContainerRow(c container.Container) containerRow {
	return containerRow{
		ID: c.ID, Region: c.Region, OrganizationID: c.OrganizationID, ProjectID: c.ProjectID, NamespaceID: c.NamespaceID,
		listingKeys: newListingKeys(c.Region, c.Owner, c.CreatedAt, c.ID),
		Name:        c.Name, Description: c.Description, Tags: c.Tags, Privacy: c.Privacy,
		PublicEndpoint: c.PublicEndpoint, TimeoutSeconds: c.Timeout.Seconds(), SealedToken: c.SealedToken,
		Variables: c.Variables, Spec: &c.Spec,
		Status: c.Status, CreatedAt: timestamp.Time(c.CreatedAt), UpdatedAt: timestamp.Time(c.UpdatedAt),
		Generation: c.Generation,
	}
}

func (r containerRow) container() container.Container {
	if r.Variables == nil {
		r.Variables = map[string]environment.Variable{}
	}
	if r.Spec == nil {
		spec := container.DefaultSpec()
		r.Spec = &spec
	}
	return container.Container{
		ID: r.ID, Region: r.Region,
		Owner: auth.Owner{OrganizationID: r.OrganizationID, ProjectID: r.ProjectID, NamespaceID: r.NamespaceID},
		Name:  r.Name, Description: r.Description, Tags: r.Tags, Privacy: r.Privacy,
		PublicEndpoint: r.PublicEndpoint, Timeout: time.Duration(r.TimeoutSeconds * float64(time.Second)), SealedToken: r.SealedToken,
		Variables: r.Variables, Spec: *r.Spec,
		Status: r.Status, CreatedAt: time.Time(r.CreatedAt), UpdatedAt: time.Time(r.UpdatedAt),
		Generation: r.Generation,
	}
}
