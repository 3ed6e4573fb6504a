package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

// The indexes of the Triggers table. template.yaml creates them.
const (
	// byOwner projects the attributes that lists filter and sort by.
	byOwner = "by-owner"
	// byContainer projects the keys alone.
	byContainer = "by-container"
	// byContainerInOrder projects what byOwner does, for the lists of one container.
	byContainerInOrder = "by-container-in-order"
	// byRelay contains the triggers of each shard of the relay. It projects the attributes
	// by which the relay sees that a trigger has changed.
	byRelay = "by-relay"
)

// Triggers is the table of triggers. Whatever creates, removes or lists triggers must have
// Counts.
type Triggers struct {
	Client *dynamodb.Client
	Table  string

	Counts    Counts
	Snapshots Snapshots
	Quotas    Quotas
}

// Quotas are the largest numbers of triggers of a container, and of an organization in a
// region. 0 is no quota.
type Quotas struct {
	PerContainer    int `env:"TRIGGERS_PER_CONTAINER,required"`
	PerOrganization int `env:"TRIGGERS_PER_ORGANIZATION,required"`
}

func (t Triggers) rows() rows[triggerRow] {
	return rows[triggerRow]{t.Client, t.Table, trigger.Resource, t.Counts}
}

// in returns the counts that a trigger is in.
func (t Triggers) in(tr trigger.Trigger) []membership {
	owner := ownerKey(tr.Region, tr.OrganizationID)
	return t.Counts.of(tr.ProjectID,
		membership{of: scopeOfContainer(trigger.Resource, owner, tr.ContainerID), quota: apierr.Quota{Resource: "triggers_per_container", Quota: t.Quotas.PerContainer}},
		membership{of: scopeOfOwner(trigger.Resource, owner), quota: apierr.Quota{Resource: "triggers_per_organization", Quota: t.Quotas.PerOrganization}},
	)
}

// Get returns a trigger, or ErrNotFound if there is none.
func (t Triggers) Get(ctx context.Context, id string) (trigger.Trigger, error) {
	row, err := t.rows().get(ctx, id)
	return row.trigger(), err
}

// Create adds a trigger. It returns ErrNotFound if the container does not exist or is
// being deleted, and quotas_exceeded with each quota that is reached. It is idempotent, so a
// caller may repeat it after a lost answer. The table's stream invokes reconcile, which sets up
// the trigger's source.
func (t Triggers) Create(ctx context.Context, containers Containers, tr trigger.Trigger) error {
	return t.rows().create(ctx, creation[triggerRow]{
		id: tr.ID, row: newTriggerRow(tr), under: parent{containers.Table, container.Resource, tr.ContainerID}, in: t.in(tr),
	})
}

// Update replaces the fields that a user may change. If the row is no longer of old's
// generation, it returns ErrSuperseded and the current trigger; the error wraps
// ErrNotFound if there is none.
func (t Triggers) Update(ctx context.Context, old, updated trigger.Trigger) (current trigger.Trigger, err error) {
	row := newTriggerRow(updated)
	set := "SET #name = :name, #description = :description, #tags = :tags, #destination_config = :destination, #delivery_config = :delivery, " +
		"#sealed_secret = :secret, #paused_at = :paused, #pause_reason = :reason, #last_change = :change, #updated_at = :updated, #generation = :generation, #unfinished = :unfinished"
	values := map[string]any{
		"name": row.Name, "description": row.Description, "tags": row.Tags, "destination": row.Destination, "delivery": row.Delivery,
		"secret": row.SealedSecret, "paused": row.PausedAt, "reason": row.PauseReason, "change": row.LastChange, "updated": row.UpdatedAt, "generation": row.Generation,
		"unfinished": isUnfinished, "old": old.Generation,
	}
	switch updated.Source() {
	case trigger.SourceCron:
		set, values["config"] = set+", #cron_config = :config", row.Cron
	case trigger.SourceSQS:
		set, values["config"] = set+", #sqs_config = :config", row.SQS
	case trigger.SourceNATS:
		set, values["config"] = set+", #nats_config = :config", row.NATS
	}
	if updated.Status == trigger.Updating {
		// The update does not set any other status, and reconcile may change it meanwhile.
		set, values["status"] = set+", #status = :status", row.Status
	}
	found, err := t.rows().update(ctx, old.ID, set, "#generation = :old", values)
	return found.trigger(), err
}

// MarkDeleting sets a trigger's status to deleting and returns the trigger. It is
// idempotent, and returns ErrNotFound if there is none.
func (t Triggers) MarkDeleting(ctx context.Context, id string) (trigger.Trigger, error) {
	return t.MarkDeletingBy(ctx, id, auth.Change{})
}

// MarkDeletingBy does the same as MarkDeleting, and records the change through the API.
func (t Triggers) MarkDeletingBy(ctx context.Context, id string, by auth.Change) (trigger.Trigger, error) {
	row, err := t.rows().markDeleting(ctx, id, by)
	return row.trigger(), err
}

// Remove deletes the row of a trigger that is being deleted. It does nothing if there
// is no row.
func (t Triggers) Remove(ctx context.Context, tr trigger.Trigger) error {
	return t.rows().remove(ctx, tr.ID, t.in(tr))
}

// MarkObserved records that the source was set up for tr's generation. The status becomes
// ready, or error if there is a message. It returns ErrSuperseded if the row is of a later
// generation, which has a record of its own in the stream.
func (t Triggers) MarkObserved(ctx context.Context, tr trigger.Trigger, message string, now time.Time) error {
	status, message := trigger.Ready, shorten(message)
	if message != "" {
		status = trigger.Error
	}
	set := "SET #observed_generation = :generation"
	values := map[string]any{"generation": tr.Generation}
	if status != tr.Status {
		set += ", #status = :status, #updated_at = :updated"
		values["status"], values["updated"] = status, timestamp.Time(timestamp.Next(tr.UpdatedAt, now))
	}
	if status != tr.Status || status == trigger.Error {
		// A trigger that stays ready keeps the message of its last failed call.
		set += ", #error_message = :message"
		values["message"] = message
	}
	if status == trigger.Error {
		set += ", #unfinished = :unfinished"
		values["unfinished"] = isUnfinished
	} else {
		set += " REMOVE #unfinished"
	}
	_, err := t.rows().update(ctx, tr.ID, set, "#generation = :generation", values)
	return err
}

// maxMessage is the longest error message, in bytes. Part of a message may come from a
// user's server.
const maxMessage = 1000

func shorten(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + "…"
}

// SetLastError sets the error message of a ready trigger to the failure of its last call.
// "" clears the message. SetLastError does nothing in any other status.
func (t Triggers) SetLastError(ctx context.Context, id, message string) error {
	message = shorten(message)
	_, err := t.rows().update(ctx, id, "SET #error_message = :message", "#status = :ready AND #error_message <> :message",
		map[string]any{"message": message, "ready": trigger.Ready})
	if errors.Is(err, ErrSuperseded) {
		return nil
	}
	return err
}

// Requeue makes reconcile look at a trigger again. It does nothing if there is none.
func (t Triggers) Requeue(ctx context.Context, id string, now time.Time) error {
	return t.updateIfExists(ctx, id, "SET #observed_generation = :none, #reopened_at = :now, #unfinished = :unfinished",
		map[string]any{"none": 0, "now": timestamp.Time(now), "unfinished": isUnfinished})
}

// SetVerified records what [trigger.Trigger.Verified] describes. It does nothing if there is
// no such trigger.
func (t Triggers) SetVerified(ctx context.Context, id, verified string) error {
	return t.updateIfExists(ctx, id, "SET #verified = :verified", map[string]any{"verified": verified})
}

// Page returns the triggers of one page of at most that many rows. The first page comes
// after "", and next is "" after the last one. It scans the table, so only sweep uses it.
func (t Triggers) Page(ctx context.Context, after string, most int32) (list []trigger.Trigger, next string, err error) {
	rows, next, err := scan[triggerRow](ctx, t.Client, t.Table, "id", "", nil, after, most)
	return convert(rows, triggerRow.trigger), next, err
}

// Present returns the IDs that have a trigger.
func (t Triggers) Present(ctx context.Context, ids []string) (map[string]bool, error) {
	return t.rows().present(ctx, ids)
}

// SetRelay assigns a generation of a trigger to a shard of the relay. It does nothing
// if there is no such trigger.
func (t Triggers) SetRelay(ctx context.Context, id, shard string, generation int64) error {
	return t.updateIfExists(ctx, id, "SET #relay = :shard, #relay_generation = :generation", map[string]any{"shard": shard, "generation": generation})
}

// UnsetRelay removes a trigger from its shard of the relay. It does nothing if there is no
// such trigger.
func (t Triggers) UnsetRelay(ctx context.Context, id string) error {
	return t.updateIfExists(ctx, id, "REMOVE #relay", nil)
}

// updateIfExists changes a row if it exists.
func (t Triggers) updateIfExists(ctx context.Context, id, set string, values map[string]any) error {
	_, err := t.rows().update(ctx, id, set, "attribute_exists(#id)", values)
	if errors.Is(err, ErrSuperseded) {
		return nil
	}
	return err
}

// RelayEntry is a trigger on the relay, as the index projects it.
type RelayEntry struct {
	ID                 string         `json:"id"`
	ContainerID        string         `json:"container_id"`
	Status             trigger.Status `json:"status"`
	Generation         int64          `json:"generation"`
	ObservedGeneration int64          `json:"observed_generation"`
}

// OnRelay returns the triggers of a shard from the index. It returns at most that many, or
// all if most is 0.
func (t Triggers) OnRelay(ctx context.Context, shard string, most int) ([]RelayEntry, error) {
	input := &dynamodb.QueryInput{
		TableName: &t.Table, IndexName: aws.String(byRelay), KeyConditionExpression: aws.String("relay = :shard"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":shard": &types.AttributeValueMemberS{Value: shard}},
	}
	if most > 0 {
		input.Limit = aws.Int32(int32(most))
	}
	var list []RelayEntry
	pages := dynamodb.NewQueryPaginator(t.Client, input)
	for pages.HasMorePages() && (most == 0 || len(list) < most) {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the triggers of relay %s: %w", shard, err)
		}
		for _, item := range page.Items {
			row, err := decodeRow[RelayEntry](item)
			if err != nil {
				return nil, err
			}
			list = append(list, row)
		}
	}
	return list, nil
}

// OfContainer returns the IDs of a container's triggers from the index. It returns at most
// that many, or all if most is 0.
func (t Triggers) OfContainer(ctx context.Context, containerID string, most int) ([]string, error) {
	input := &dynamodb.QueryInput{
		TableName: &t.Table, IndexName: aws.String(byContainer),
		KeyConditionExpression: aws.String("container_id = :container"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":container": &types.AttributeValueMemberS{Value: containerID},
		},
	}
	if most > 0 {
		input.Limit = aws.Int32(int32(most))
	}
	var ids []string
	pages := dynamodb.NewQueryPaginator(t.Client, input)
	for pages.HasMorePages() && (most == 0 || len(ids) < most) {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the triggers of container %s: %w", containerID, err)
		}
		for _, item := range page.Items {
			if id, ok := item["id"].(*types.AttributeValueMemberS); ok {
				ids = append(ids, id.Value)
			}
		}
	}
	return ids, nil
}

// AnyOnRelay reports whether the relay delivers, or will deliver, a trigger of a container.
func (t Triggers) AnyOnRelay(ctx context.Context, containerID string) (bool, error) {
	ids, err := t.OfContainer(ctx, containerID, 0)
	if err != nil {
		return false, err
	}
	for batch := range slices.Chunk(ids, maxBatch) {
		found, err := t.rows().getAll(ctx, batch)
		if err != nil || slices.ContainsFunc(found, func(r triggerRow) bool { return r.Relay != "" || r.NATS != nil }) {
			return err == nil, err
		}
	}
	return false, nil
}

// changeRow is a change as a row stores it.
type changeRow struct {
	Operation auth.Operation `json:"operation"`
	AccessKey string         `json:"access_key"`
	At        timestamp.Time `json:"at"`
}

// newChangeRow returns nil for the zero change.
func newChangeRow(c auth.Change) *changeRow {
	if c == (auth.Change{}) {
		return nil
	}
	return &changeRow{c.Operation, c.AccessKey, timestamp.Time(c.At)}
}

func (r *changeRow) change() auth.Change {
	if r == nil {
		return auth.Change{}
	}
	return auth.Change{Operation: r.Operation, AccessKey: r.AccessKey, At: time.Time(r.At)}
}

// triggerRow is a trigger as the table stores it.
type triggerRow struct {
	ID             string `json:"id"`
	Region         string `json:"region"`
	OrganizationID string `json:"organization_id"`
	ProjectID      string `json:"project_id"`
	NamespaceID    string `json:"namespace_id"`
	ContainerID    string `json:"container_id"`
	listingKeys

	Name         string              `json:"name"`
	Description  string              `json:"description"`
	Tags         []string            `json:"tags"`
	Destination  trigger.Destination `json:"destination_config"`
	SourceType   trigger.Source      `json:"source_type"`
	Cron         *trigger.Cron       `json:"cron_config,omitempty"`
	SQS          *trigger.SQS        `json:"sqs_config,omitempty"`
	NATS         *trigger.NATS       `json:"nats_config,omitempty"`
	SealedSecret []byte              `json:"sealed_secret"`
	// Relay is omitted if it is empty, because the key of an index must not be empty.
	Relay           string `json:"relay,omitempty"`
	RelayGeneration int64  `json:"relay_generation"`
	// Unfinished is omitted if it is empty, as Relay is.
	Unfinished string `json:"unfinished,omitempty"`
	Verified   string `json:"verified,omitempty"`

	// PausedAt is nil if the trigger is not paused.
	PausedAt    *timestamp.Time `json:"paused_at,omitempty"`
	PauseReason string          `json:"pause_reason,omitempty"`

	Delivery trigger.Delivery `json:"delivery_config"`
	// LastChange is nil if nobody has changed the trigger through the API.
	LastChange *changeRow `json:"last_change,omitempty"`

	Status             trigger.Status `json:"status"`
	ErrorMessage       string         `json:"error_message"`
	CreatedAt          timestamp.Time `json:"created_at"`
	UpdatedAt          timestamp.Time `json:"updated_at"`
	Generation         int64          `json:"generation"`
	ObservedGeneration int64          `json:"observed_generation"`
}

func newTriggerRow(t trigger.Trigger) triggerRow {
	return triggerRow{
		ID: t.ID, Region: t.Region, OrganizationID: t.OrganizationID, ProjectID: t.ProjectID,
		NamespaceID: t.NamespaceID, ContainerID: t.ContainerID,
		listingKeys: newListingKeys(t.Region, t.Owner, t.CreatedAt, t.ID),
		Name:        t.Name, Description: t.Description, Tags: t.Tags, Destination: t.Destination,
		SourceType: t.Source(), Cron: t.Cron, SQS: t.SQS, NATS: t.NATS, SealedSecret: t.SealedSecret, Relay: t.Relay, RelayGeneration: t.RelayGeneration,
		Unfinished: unfinishedIf(t.Status != trigger.Ready || !t.Settled()), Verified: t.Verified,
		PausedAt: optional(t.PausedAt), PauseReason: t.PauseReason, Delivery: t.Delivery, LastChange: newChangeRow(t.LastChange),
		Status: t.Status, ErrorMessage: t.ErrorMessage,
		CreatedAt: timestamp.Time(t.CreatedAt), UpdatedAt: timestamp.Time(t.UpdatedAt),
		Generation: t.Generation, ObservedGeneration: t.ObservedGeneration,
	}
}

func (r triggerRow) trigger() trigger.Trigger {
	return trigger.Trigger{
		ID: r.ID, Region: r.Region, ContainerID: r.ContainerID,
		Owner: auth.Owner{OrganizationID: r.OrganizationID, ProjectID: r.ProjectID, NamespaceID: r.NamespaceID},
		Name:  r.Name, Description: r.Description, Tags: r.Tags, Destination: r.Destination,
		Cron: r.Cron, SQS: r.SQS, NATS: r.NATS, SealedSecret: r.SealedSecret, Relay: r.Relay, RelayGeneration: r.RelayGeneration, Verified: r.Verified,
		PausedAt: orZero(r.PausedAt), PauseReason: r.PauseReason, Delivery: r.Delivery, LastChange: r.LastChange.change(),
		Status: r.Status, ErrorMessage: r.ErrorMessage,
		CreatedAt: time.Time(r.CreatedAt), UpdatedAt: time.Time(r.UpdatedAt),
		Generation: r.Generation, ObservedGeneration: r.ObservedGeneration,
	}
}
