package table

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/container"
	"containertriggers/shared/trigger"
	"containertriggers/shared/wiretime"
)

// The indexes of the Triggers table; template.yaml makes them.
const (
	// byOwner holds what listing filters and sorts by, no more.
	byOwner = "by-owner"
	// byContainer holds the keys alone.
	byContainer = "by-container"
	// byRelay holds the triggers of each shard of the relay, and what tells it that
	// one has changed.
	byRelay = "by-relay"
)

// Triggers is the table of triggers.
type Triggers struct {
	Client *dynamodb.Client
	Table  string
}

func (t Triggers) rows() rows[triggerRow] {
	return rows[triggerRow]{t.Client, t.Table, trigger.Resource}
}

// Get reads a trigger. [ErrNotFound] where there is none.
func (t Triggers) Get(ctx context.Context, id string) (trigger.Trigger, error) {
	row, err := t.rows().get(ctx, id)
	return row.trigger(), err
}

// Create adds a trigger on the condition that its container is there and not
// being deleted, which is [ErrNotFound] otherwise. Asking again after an answer
// that was lost does nothing and succeeds.
func (t Triggers) Create(ctx context.Context, containers Containers, tr trigger.Trigger) error {
	item, err := encode(newTriggerRow(tr))
	if err != nil {
		return err
	}
	err = transact(ctx, t.Client, &dynamodb.TransactWriteItemsInput{
		ClientRequestToken: &tr.ID,
		TransactItems: []types.TransactWriteItem{
			{Put: &types.Put{
				TableName: &t.Table, Item: item, ConditionExpression: aws.String("attribute_not_exists(id)"),
			}},
			{ConditionCheck: &types.ConditionCheck{
				TableName: &containers.Table, Key: key(tr.ContainerID),
				ConditionExpression:      aws.String("#status = :ready"),
				ExpressionAttributeNames: placeholders("#status"),
				ExpressionAttributeValues: map[string]types.AttributeValue{
					":ready": &types.AttributeValueMemberS{Value: string(container.Ready)},
				},
			}},
		},
	})
	if err == nil {
		return nil
	}
	if failed := failedConditions(err); len(failed) > 1 && failed[1] && !failed[0] {
		return notFound(container.Resource, tr.ContainerID)
	}
	if t.rows().exists(ctx, tr.ID) {
		return nil
	}
	return fmt.Errorf("creating trigger %s: %w", tr.ID, err)
}

// Update replaces what the user may change of old by what updated says.
// [ErrSuperseded] where the row is not of old's generation any more: with it comes
// the trigger as it is instead, or [ErrNotFound] where it is gone.
func (t Triggers) Update(ctx context.Context, old, updated trigger.Trigger) (instead trigger.Trigger, err error) {
	row := newTriggerRow(updated)
	set := "SET #name = :name, #description = :description, #tags = :tags, #destination_config = :destination, " +
		"#sealed_secret = :secret, #updated_at = :updated, #generation = :generation"
	values := map[string]any{
		"name": row.Name, "description": row.Description, "tags": row.Tags, "destination": row.Destination,
		"secret": row.SealedSecret, "updated": row.UpdatedAt, "generation": row.Generation,
		"old": old.Generation,
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
		// Any other status is none of the update's making, and may settle meanwhile.
		set, values["status"] = set+", #status = :status", row.Status
	}
	current, err := t.rows().update(ctx, old.ID, set, "#generation = :old", values)
	return current.trigger(), err
}

// MarkDeleting turns a trigger's status to deleting and gives it back. Doing it
// again changes nothing. [ErrNotFound] where it is gone.
func (t Triggers) MarkDeleting(ctx context.Context, id string) (trigger.Trigger, error) {
	row, err := t.rows().markDeleting(ctx, id)
	return row.trigger(), err
}

// Remove deletes the row of a trigger that is being deleted; one that is gone
// already is fine.
func (t Triggers) Remove(ctx context.Context, id string) error {
	return t.rows().remove(ctx, id)
}

// Settle records that the source matches tr's generation (ready), or why it
// cannot (error, with the message). [ErrSuperseded] where the row is not of that
// generation any more: the newer one has its own record in the stream.
func (t Triggers) Settle(ctx context.Context, tr trigger.Trigger, message string, now time.Time) error {
	status, message := trigger.Ready, shorten(message)
	if message != "" {
		status = trigger.Error
	}
	set := "SET #observed_generation = :generation"
	values := map[string]any{"generation": tr.Generation}
	if status != tr.Status {
		set += ", #status = :status, #updated_at = :updated"
		values["status"], values["updated"] = status, wiretime.Time(wiretime.After(tr.UpdatedAt, now))
	}
	if status != tr.Status || status == trigger.Error {
		// A ready trigger that stays ready keeps telling how its last call failed.
		set += ", #error_message = :message"
		values["message"] = message
	}
	_, err := t.rows().update(ctx, tr.ID, set, "#generation = :generation", values)
	return err
}

// maxMessage bounds an error message, in bytes: what a server somewhere says may be
// part of it.
const maxMessage = 1000

func shorten(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + "…"
}

// NoteCall keeps the last call's failure as the error message of a trigger that
// is ready; "" clears it. Any other trigger is left alone.
func (t Triggers) NoteCall(ctx context.Context, id, message string) error {
	message = shorten(message)
	_, err := t.rows().update(ctx, id, "SET #error_message = :message", "#status = :ready AND #error_message <> :message",
		map[string]any{"message": message, "ready": trigger.Ready})
	if errors.Is(err, ErrSuperseded) {
		return nil
	}
	return err
}

// Reopen has reconcile look at a trigger again. One that is gone is left alone.
func (t Triggers) Reopen(ctx context.Context, id string, now time.Time) error {
	return t.touch(ctx, id, "SET #observed_generation = :none, #reopened_at = :now", map[string]any{"none": 0, "now": wiretime.Time(now)})
}

// Unfinished is a trigger that reconcile is not done with: its source does not
// match it yet, or cannot.
type Unfinished struct {
	trigger.Trigger
	// ReopenedAt is when reconcile was last told to look again, zero if never.
	ReopenedAt time.Time
}

// Unfinished reads the triggers that reconcile is not done with, a page of the
// table at a time: after "" the first, until next is "" again. It scans: for sweep
// alone.
func (t Triggers) Unfinished(ctx context.Context, after string) (list []Unfinished, next string, err error) {
	type row struct {
		triggerRow
		ReopenedAt *wiretime.Time `json:"reopened_at"`
	}
	rows, next, err := scan[row](ctx, t.Client, t.Table, "id", "#status <> :ready OR #observed_generation <> #generation",
		map[string]any{"ready": trigger.Ready}, after, 0)
	return convert(rows, func(r row) Unfinished {
		found := Unfinished{Trigger: r.trigger()}
		if r.ReopenedAt != nil {
			found.ReopenedAt = time.Time(*r.ReopenedAt)
		}
		return found
	}), next, err
}

// Page reads up to that many triggers, as Unfinished does: all there are.
func (t Triggers) Page(ctx context.Context, after string, most int32) (list []trigger.Trigger, next string, err error) {
	rows, next, err := scan[triggerRow](ctx, t.Client, t.Table, "id", "", nil, after, most)
	return convert(rows, triggerRow.trigger), next, err
}

// Present tells which of up to 100 triggers there are.
func (t Triggers) Present(ctx context.Context, ids []string) (map[string]bool, error) {
	return t.rows().present(ctx, ids)
}

// SetRelay gives a generation of a trigger to a shard of the relay. A trigger that
// is gone is left alone.
func (t Triggers) SetRelay(ctx context.Context, id, shard string, generation int64) error {
	return t.touch(ctx, id, "SET #relay = :shard, #relay_generation = :generation", map[string]any{"shard": shard, "generation": generation})
}

// UnsetRelay takes a trigger from the relay. One that is gone is left alone.
func (t Triggers) UnsetRelay(ctx context.Context, id string) error {
	return t.touch(ctx, id, "REMOVE #relay", nil)
}

// touch changes a row that may be gone.
func (t Triggers) touch(ctx context.Context, id, set string, values map[string]any) error {
	_, err := t.rows().update(ctx, id, set, "attribute_exists(#id)", values)
	if errors.Is(err, ErrSuperseded) {
		return nil
	}
	return err
}

// Relayed is a trigger on the relay, as the index knows it.
type Relayed struct {
	ID                 string         `json:"id"`
	ContainerID        string         `json:"container_id"`
	Status             trigger.Status `json:"status"`
	Generation         int64          `json:"generation"`
	ObservedGeneration int64          `json:"observed_generation"`
}

// OnRelay lists the triggers of a shard, as the index knows them; most bounds how
// many, 0 does not.
func (t Triggers) OnRelay(ctx context.Context, shard string, most int) ([]Relayed, error) {
	input := &dynamodb.QueryInput{
		TableName: &t.Table, IndexName: aws.String(byRelay), KeyConditionExpression: aws.String("relay = :shard"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":shard": &types.AttributeValueMemberS{Value: shard}},
	}
	if most > 0 {
		input.Limit = aws.Int32(int32(most))
	}
	var list []Relayed
	pages := dynamodb.NewQueryPaginator(t.Client, input)
	for pages.HasMorePages() && (most == 0 || len(list) < most) {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the triggers of relay %s: %w", shard, err)
		}
		for _, item := range page.Items {
			row, err := decodeRow[Relayed](item)
			if err != nil {
				return nil, err
			}
			list = append(list, row)
		}
	}
	return list, nil
}

// OfContainer gives the IDs of a container's triggers, as the index knows them.
func (t Triggers) OfContainer(ctx context.Context, containerID string) ([]string, error) {
	var ids []string
	pages := dynamodb.NewQueryPaginator(t.Client, &dynamodb.QueryInput{
		TableName: &t.Table, IndexName: aws.String(byContainer),
		KeyConditionExpression: aws.String("container_id = :container"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":container": &types.AttributeValueMemberS{Value: containerID},
		},
	})
	for pages.HasMorePages() {
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

// CountOfContainer counts the triggers of a container, as the index knows them, up
// to that many.
func (t Triggers) CountOfContainer(ctx context.Context, containerID string, most int) (int, error) {
	return t.count(ctx, byContainer, "container_id", containerID, most)
}

// CountOfOrganization counts the triggers of an organization in a region, as the
// index knows them, up to that many.
func (t Triggers) CountOfOrganization(ctx context.Context, region, organizationID string, most int) (int, error) {
	return t.count(ctx, byOwner, "owner", ownerKey(region, organizationID), most)
}

func (t Triggers) count(ctx context.Context, index, keyName, value string, most int) (count int, err error) {
	condition := "#" + keyName + " = :value"
	input := &dynamodb.QueryInput{
		TableName: &t.Table, IndexName: &index, Select: types.SelectCount, KeyConditionExpression: &condition,
		ExpressionAttributeNames:  placeholders(condition),
		ExpressionAttributeValues: map[string]types.AttributeValue{":value": &types.AttributeValueMemberS{Value: value}},
	}
	for {
		input.Limit = aws.Int32(int32(most - count))
		page, err := t.Client.Query(ctx, input)
		if err != nil {
			return 0, fmt.Errorf("counting triggers: %w", err)
		}
		count += int(page.Count)
		if input.ExclusiveStartKey = page.LastEvaluatedKey; page.LastEvaluatedKey == nil || count >= most {
			return count, nil
		}
	}
}

// triggerRow is a trigger as the table holds it.
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
	// Relay is left out where it is empty: the key of an index must not be.
	Relay           string `json:"relay,omitempty"`
	RelayGeneration int64  `json:"relay_generation"`

	Status             trigger.Status `json:"status"`
	ErrorMessage       string         `json:"error_message"`
	CreatedAt          wiretime.Time  `json:"created_at"`
	UpdatedAt          wiretime.Time  `json:"updated_at"`
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
		Status: t.Status, ErrorMessage: t.ErrorMessage,
		CreatedAt: wiretime.Time(t.CreatedAt), UpdatedAt: wiretime.Time(t.UpdatedAt),
		Generation: t.Generation, ObservedGeneration: t.ObservedGeneration,
	}
}

func (r triggerRow) trigger() trigger.Trigger {
	return trigger.Trigger{
		ID: r.ID, Region: r.Region, ContainerID: r.ContainerID,
		Owner: container.Owner{OrganizationID: r.OrganizationID, ProjectID: r.ProjectID, NamespaceID: r.NamespaceID},
		Name:  r.Name, Description: r.Description, Tags: r.Tags, Destination: r.Destination,
		Cron: r.Cron, SQS: r.SQS, NATS: r.NATS, SealedSecret: r.SealedSecret, Relay: r.Relay, RelayGeneration: r.RelayGeneration,
		Status: r.Status, ErrorMessage: r.ErrorMessage,
		CreatedAt: time.Time(r.CreatedAt), UpdatedAt: time.Time(r.UpdatedAt),
		Generation: r.Generation, ObservedGeneration: r.ObservedGeneration,
	}
}
