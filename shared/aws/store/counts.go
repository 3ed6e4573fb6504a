package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/namespace"
	"containertriggers/shared/domain/trigger"
)

// Counts is the table of how many rows each scope has. The transaction that creates or
// removes a row changes its counts, so that a list knows its total_count, and a create the
// quotas, without reading an index.
//
// A scope may have no count: nobody has created a row in it since the release that began to
// count. Lists then read the whole scope, and the next create counts it. The zero value counts
// nothing.
type Counts struct {
	Client *dynamodb.Client
	Table  string
}

// scope is the rows of one kind that are listed and counted together. These are the rows of an
// organization in a region, or the triggers of a container. An index has all of them under one
// key.
type scope struct {
	// name is the key of the scope's count.
	name     string
	resource string
	// owner is the region and the organization of all rows.
	owner string
	// containerID is "" in the scope of an organization.
	containerID string
}

func scopeOfOwner(resource, owner string) scope {
	return scope{name: resource + "/" + owner, resource: resource, owner: owner}
}

func scopeOfContainer(resource, owner, containerID string) scope {
	return scope{name: resource + "/container#" + containerID, resource: resource, owner: owner, containerID: containerID}
}

// index returns the index that has the scope, and the name and value of its key.
func (s scope) index() (index, keyName, key string) {
	if s.containerID != "" {
		return byContainerInOrder, "container_id", s.containerID
	}
	return byOwner, "owner", s.owner
}

// countRow is the count of a scope as the table stores it.
type countRow struct {
	Scope       string `json:"scope"`
	Resource    string `json:"resource"`
	Owner       string `json:"owner"`
	ContainerID string `json:"container_id,omitempty"`
	Total       int    `json:"total"`
	// Projects has the count of each project.
	Projects  map[string]int `json:"projects"`
	ChangedAt timestamp.Time `json:"changed_at"`
	// CountedAt is when the rows were counted last.
	CountedAt timestamp.Time `json:"counted_at"`
}

func newCountRow(of scope, entries []entry, now time.Time) countRow {
	row := countRow{
		Scope: of.name, Resource: of.resource, Owner: of.owner, ContainerID: of.containerID,
		Total: len(entries), Projects: map[string]int{}, ChangedAt: timestamp.Time(now), CountedAt: timestamp.Time(now),
	}
	for _, e := range entries {
		row.Projects[e.project]++
	}
	return row
}

func (r countRow) scope() scope { return scope{r.Scope, r.Resource, r.Owner, r.ContainerID} }

func countKey(name string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"scope": &types.AttributeValueMemberS{Value: name}}
}

// get returns the count of a scope, and false if it has none. The read is strongly consistent.
func (c Counts) get(ctx context.Context, of scope) (row countRow, ok bool, err error) {
	if c == (Counts{}) {
		return row, false, nil
	}
	answer, err := c.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &c.Table, Key: countKey(of.name), ConsistentRead: aws.Bool(true)})
	if err != nil || answer.Item == nil {
		return row, false, wrap(err, "reading the count of %s", of.name)
	}
	row, err = decodeRow[countRow](answer.Item)
	return row, err == nil, err
}

// wrap returns nil if err is nil.
func wrap(err error, format string, arguments ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(arguments, err)...)
}

// membership is a row's part in a count.
type membership struct {
	of      scope
	project string
	// quota is the largest count if its Quota is not 0.
	quota apierr.Quota
}

// of returns the memberships of a row in a project. The zero value has none.
func (c Counts) of(project string, in ...membership) []membership {
	if c == (Counts{}) {
		return nil
	}
	for i := range in {
		in[i].project = project
	}
	return in
}

// add returns the part of a transaction that changes the count by 1 or -1. Its condition fails
// if the scope has no count, or if the count would exceed the quota. The answer then has the
// count, if there is one.
func (c Counts) add(m membership, by int, now time.Time) (types.TransactWriteItem, error) {
	condition := "attribute_exists(#scope)"
	values := map[string]any{"by": by, "none": 0, "now": timestamp.Time(now)}
	if m.quota.Quota > 0 {
		condition += " AND #total < :quota"
		values["quota"] = m.quota.Quota
	}
	set := "SET #total = #total + :by, #projects.#project = if_not_exists(#projects.#project, :none) + :by, #changed_at = :now"
	encoded, err := encodeValues(values)
	if err != nil {
		return types.TransactWriteItem{}, err
	}
	names := placeholders(set + condition)
	names["#project"] = m.project
	return types.TransactWriteItem{Update: &types.Update{
		TableName: &c.Table, Key: countKey(m.of.name), UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: names, ExpressionAttributeValues: encoded,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}, nil
}

// begin counts a scope that has no count. It does nothing if there is one meanwhile.
func (r rows[R]) begin(ctx context.Context, of scope) error {
	entries, err := read(ctx, r.client, r.table, of, part{})
	if err != nil {
		return err
	}
	_, err = r.counts.put(ctx, newCountRow(of, entries, time.Now()), "attribute_not_exists(#scope)", nil)
	return err
}

// put stores a count if the condition holds, and reports whether it does.
func (c Counts) put(ctx context.Context, row countRow, condition string, values map[string]any) (bool, error) {
	item, err := encode(row)
	if err != nil {
		return false, err
	}
	encoded, err := encodeValues(values)
	if err != nil {
		return false, err
	}
	_, err = write(ctx, c.Client.PutItem, &dynamodb.PutItemInput{
		TableName: &c.Table, Item: item, ConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(condition), ExpressionAttributeValues: encoded,
	})
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return false, nil
	}
	return err == nil, wrap(err, "storing the count of %s", row.Scope)
}

const (
	// settled is how long ago the last change of a count must be for its comparison with an
	// index. Indexes lag by less.
	settled = time.Minute
	// countInterval is how often the rows of a scope are counted. Counting 100,000 rows takes
	// some 5,000 read units.
	countInterval = time.Hour
)

// Recount compares the count of one scope with its rows if they were not counted within the last
// hour. If they differ, Recount corrects the count and returns the scope's name as found. They
// differ after somebody has restored rows or written to the tables by hand. The first scope comes
// after "", and next is "" after the last one. Recount leaves a count alone that has changed
// within the last minute.
func (c Counts) Recount(ctx context.Context, triggers Triggers, containers Containers, namespaces Namespaces, after string, now time.Time) (found, next string, err error) {
	if c == (Counts{}) {
		return "", "", nil
	}
	page, next, err := scan[countRow](ctx, c.Client, c.Table, "scope", "", nil, after, 1)
	if err != nil || len(page) == 0 {
		return "", next, err
	}
	stored := page[0]
	table, known := map[string]string{trigger.Resource: triggers.Table, container.Resource: containers.Table, namespace.Resource: namespaces.Table}[stored.Resource]
	if !known {
		return "", next, fmt.Errorf("the count %s is of an unknown kind", stored.Scope)
	}
	if now.Sub(time.Time(stored.ChangedAt)) < settled || now.Sub(time.Time(stored.CountedAt)) < countInterval {
		return "", next, nil
	}
	entries, err := read(ctx, c.Client, table, stored.scope(), part{})
	if err != nil {
		return "", next, err
	}
	counted := newCountRow(stored.scope(), entries, now)
	same := counted.agrees(stored)
	if same {
		counted.ChangedAt = stored.ChangedAt
	}
	if done, err := c.put(ctx, counted, "#changed_at = :then", map[string]any{"then": stored.ChangedAt}); !done || same {
		return "", next, err // perhaps a create or a removal came before
	}
	return stored.Scope, next, nil
}

// agrees reports whether two counts of a scope are the same. A project without rows may be left
// out.
func (r countRow) agrees(other countRow) bool {
	if r.Total != other.Total {
		return false
	}
	for _, pair := range [][2]countRow{{r, other}, {other, r}} {
		for project, count := range pair[0].Projects {
			if pair[1].Projects[project] != count {
				return false
			}
		}
	}
	return true
}
