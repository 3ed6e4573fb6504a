package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/listing"
	"containertriggers/shared/domain/namespace"
	"containertriggers/shared/domain/trigger"
)

// List returns a page of triggers, and the number of triggers on all pages.
func (t Triggers) List(ctx context.Context, q listing.Query) ([]trigger.Trigger, int, error) {
	rows, total, err := t.rows().list(ctx, q)
	return convert(rows, triggerRow.trigger), total, err
}

// List returns a page of containers, and the number of containers on all pages.
func (c Containers) List(ctx context.Context, q listing.Query) ([]container.Container, int, error) {
	rows, total, err := c.rows().list(ctx, q)
	return convert(rows, containerRow.container), total, err
}

// List returns a page of namespaces, and the number of namespaces on all pages.
func (n Namespaces) List(ctx context.Context, q listing.Query) ([]namespace.Namespace, int, error) {
	rows, total, err := n.rows().list(ctx, q)
	return convert(rows, namespaceRow.namespace), total, err
}

func convert[R, D any](rows []R, to func(R) D) []D {
	list := make([]D, len(rows))
	for i, row := range rows {
		list[i] = to(row)
	}
	return list
}

// list returns the rows of the query's page, and the number of rows on all pages.
func (r rows[R]) list(ctx context.Context, q listing.Query) ([]R, int, error) {
	entries, err := match(ctx, r.client, r.table, q)
	if err != nil {
		return nil, 0, err
	}
	page, err := r.getAll(ctx, ids(pageOf(entries, q)))
	return page, len(entries), err
}

// listingKeys are the keys of the index by owner. The sort key begins with the project,
// so that a project is a range of it. The creation time follows, which is the default
// order.
type listingKeys struct {
	Owner   string `json:"owner"`
	Listing string `json:"listing"`
}

func newListingKeys(region string, owner auth.Owner, created time.Time, id string) listingKeys {
	return listingKeys{
		Owner:   ownerKey(region, owner.OrganizationID),
		Listing: owner.ProjectID + "#" + timestamp.Time(created).String() + "#" + id,
	}
}

func ownerKey(region, organizationID string) string { return region + "#" + organizationID }

// entry is a row as the index by owner projects it.
type entry struct {
	ID          string         `json:"id"`
	Listing     string         `json:"listing"`
	Name        string         `json:"name"`
	NamespaceID string         `json:"namespace_id"`
	ContainerID string         `json:"container_id"`
	Source      trigger.Source `json:"source_type"`

	project, created string // parts of Listing
}

// match returns the entries that match the query, in the query's order.
func match(ctx context.Context, client *dynamodb.Client, table string, q listing.Query) ([]entry, error) {
	condition := "#owner = :owner"
	values := map[string]types.AttributeValue{
		":owner": &types.AttributeValueMemberS{Value: ownerKey(q.Region, q.OrganizationID)},
	}
	if len(q.ProjectIDs) == 1 {
		condition += " AND begins_with(#listing, :project)"
		values[":project"] = &types.AttributeValueMemberS{Value: q.ProjectIDs[0] + "#"}
	}
	pages := dynamodb.NewQueryPaginator(client, &dynamodb.QueryInput{
		TableName: &table, IndexName: aws.String(byOwner),
		KeyConditionExpression: &condition, ExpressionAttributeNames: placeholders(condition),
		ExpressionAttributeValues: values,
	})
	var matching []entry
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", table, err)
		}
		for _, item := range page.Items {
			var e entry
			if err := decode(item, &e); err != nil {
				return nil, err
			}
			e.project, e.created, _ = strings.Cut(e.Listing, "#")
			e.created, _, _ = strings.Cut(e.created, "#")
			if matches(q, e) {
				matching = append(matching, e)
			}
		}
	}
	slices.SortFunc(matching, func(a, b entry) int { return compare(q.Order, a, b) })
	return matching, nil
}

func matches(q listing.Query, e entry) bool {
	return (q.ProjectIDs == nil || slices.Contains(q.ProjectIDs, e.project)) &&
		(q.NamespaceID == "" || q.NamespaceID == e.NamespaceID) &&
		(q.ContainerID == "" || q.ContainerID == e.ContainerID) &&
		(q.Source == "" || q.Source == e.Source) &&
		(q.Name == "" || q.Name == e.Name)
}

func compare(o listing.Order, a, b entry) int {
	by := strings.Compare(a.created, b.created)
	if o.ByName {
		by = strings.Compare(a.Name, b.Name)
	}
	if o.Descending {
		by = -by
	}
	return cmp.Or(by, strings.Compare(a.ID, b.ID))
}

// pageOf returns the entries of the query's page. It returns none past the last page.
func pageOf(entries []entry, q listing.Query) []entry {
	from := min((q.Page-1)*q.PageSize, len(entries))
	return entries[from:min(from+q.PageSize, len(entries))]
}

func ids(entries []entry) []string {
	list := make([]string, len(entries))
	for i, e := range entries {
		list[i] = e.ID
	}
	return list
}
