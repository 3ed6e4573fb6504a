package table

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/container"
	"containertriggers/shared/trigger"
	"containertriggers/shared/wiretime"
)

// Containers is the table of containers.
type Containers struct {
	Client *dynamodb.Client
	Table  string
}

func (c Containers) rows() rows[containerRow] {
	return rows[containerRow]{c.Client, c.Table, container.Resource}
}

// Get reads a container. [ErrNotFound] where there is none.
func (c Containers) Get(ctx context.Context, id string) (container.Container, error) {
	row, err := c.rows().get(ctx, id)
	return row.container(), err
}

// Create adds a container under its new ID. Asking again after an answer that
// was lost does nothing and succeeds.
func (c Containers) Create(ctx context.Context, ct container.Container) error {
	item, err := encode(newContainerRow(ct))
	if err != nil {
		return err
	}
	_, err = c.Client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &c.Table, Item: item, ConditionExpression: aws.String("attribute_not_exists(id)"),
	})
	if _, exists := errors.AsType[*types.ConditionalCheckFailedException](err); exists || err == nil {
		return nil // an ID that nobody else can have drawn: an earlier try took effect
	}
	if c.rows().exists(ctx, ct.ID) {
		return nil
	}
	return fmt.Errorf("creating container %s: %w", ct.ID, err)
}

// Update replaces what the user may change of old by what updated says.
// [ErrSuperseded] where the row is not of old's generation any more: with it comes
// the container as it is instead, or [ErrNotFound] where it is gone.
func (c Containers) Update(ctx context.Context, old, updated container.Container) (instead container.Container, err error) {
	row := newContainerRow(updated)
	current, err := c.rows().update(ctx, old.ID,
		"SET #name = :name, #description = :description, #tags = :tags, #privacy = :privacy, "+
			"#public_endpoint = :endpoint, #timeout_seconds = :timeout, #sealed_token = :token, "+
			"#updated_at = :updated, #generation = :generation",
		"#generation = :old",
		map[string]any{
			"name": row.Name, "description": row.Description, "tags": row.Tags, "privacy": row.Privacy,
			"endpoint": row.PublicEndpoint, "timeout": row.TimeoutSeconds, "token": row.SealedToken,
			"updated": row.UpdatedAt, "generation": row.Generation, "old": old.Generation,
		})
	return current.container(), err
}

// MarkDeleting turns a container's status to deleting, from when on no trigger
// can be created on it, and gives it back. Doing it again changes nothing.
// [ErrNotFound] where it is gone.
func (c Containers) MarkDeleting(ctx context.Context, id string) (container.Container, error) {
	row, err := c.rows().markDeleting(ctx, id)
	return row.container(), err
}

// Remove deletes the row of a container that is being deleted; one that is gone
// already is fine.
func (c Containers) Remove(ctx context.Context, id string) error {
	return c.rows().remove(ctx, id)
}

// Deleting reads the IDs of the containers that are being deleted, a page of the
// table at a time: after "" the first, until next is "" again. It scans: for sweep
// alone.
func (c Containers) Deleting(ctx context.Context, after string) (ids []string, next string, err error) {
	rows, next, err := scan[containerRow](ctx, c.Client, c.Table, "id", "#status = :deleting", map[string]any{"deleting": container.Deleting}, after, 0)
	return convert(rows, func(r containerRow) string { return r.ID }), next, err
}

// Reopen has reconcile look again at a container that is being deleted. One that
// is gone is left alone.
func (c Containers) Reopen(ctx context.Context, id string, now time.Time) error {
	_, err := c.rows().update(ctx, id, "SET #reopened_at = :now", "#status = :deleting", map[string]any{"now": wiretime.Time(now), "deleting": container.Deleting})
	if errors.Is(err, ErrSuperseded) {
		return nil
	}
	return err
}

// Present tells which of up to 100 containers there are.
func (c Containers) Present(ctx context.Context, ids []string) (map[string]bool, error) {
	return c.rows().present(ctx, ids)
}

// Lookup reads a trigger and its container in one round trip. [ErrNotFound]
// where either is gone.
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

// containerRow is a container as the table holds it.
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

	Status     container.Status `json:"status"`
	CreatedAt  wiretime.Time    `json:"created_at"`
	UpdatedAt  wiretime.Time    `json:"updated_at"`
	Generation int64            `json:"generation"`
}

func newContainerRow(c container.Container) containerRow {
	return containerRow{
		ID: c.ID, Region: c.Region, OrganizationID: c.OrganizationID, ProjectID: c.ProjectID, NamespaceID: c.NamespaceID,
		listingKeys: newListingKeys(c.Region, c.Owner, c.CreatedAt, c.ID),
		Name:        c.Name, Description: c.Description, Tags: c.Tags, Privacy: c.Privacy,
		PublicEndpoint: c.PublicEndpoint, TimeoutSeconds: c.Timeout.Seconds(), SealedToken: c.SealedToken,
		Status: c.Status, CreatedAt: wiretime.Time(c.CreatedAt), UpdatedAt: wiretime.Time(c.UpdatedAt),
		Generation: c.Generation,
	}
}

func (r containerRow) container() container.Container {
	return container.Container{
		ID: r.ID, Region: r.Region,
		Owner: container.Owner{OrganizationID: r.OrganizationID, ProjectID: r.ProjectID, NamespaceID: r.NamespaceID},
		Name:  r.Name, Description: r.Description, Tags: r.Tags, Privacy: r.Privacy,
		PublicEndpoint: r.PublicEndpoint, Timeout: time.Duration(r.TimeoutSeconds * float64(time.Second)), SealedToken: r.SealedToken,
		Status: r.Status, CreatedAt: time.Time(r.CreatedAt), UpdatedAt: time.Time(r.UpdatedAt),
		Generation: r.Generation,
	}
}
