package store

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/listing"
	"containertriggers/shared/domain/namespace"
	"containertriggers/shared/domain/trigger"
)

// List returns a page of triggers, and the number of triggers on all pages.
func (t Triggers) List(ctx context.Context, q listing.Query) ([]trigger.Trigger, int, error) {
	rows, total, err := t.rows().list(ctx, t.Snapshots, q)
	return convert(rows, triggerRow.trigger), total, err
}

// List returns a page of containers, and the number of containers on all pages.
func (c Containers) List(ctx context.Context, q listing.Query) ([]container.Container, int, error) {
	rows, total, err := c.rows().list(ctx, c.Snapshots, q)
	return convert(rows, containerRow.container), total, err
}

// List returns a page of namespaces, and the number of namespaces on all pages.
func (n Namespaces) List(ctx context.Context, q listing.Query) ([]namespace.Namespace, int, error) {
	rows, total, err := n.rows().list(ctx, n.Snapshots, q)
	return convert(rows, namespaceRow.namespace), total, err
}

func convert[R, D any](rows []R, to func(R) D) []D {
	list := make([]D, len(rows))
	for i, row := range rows {
		list[i] = to(row)
	}
	return list
}

// few is the largest number of entries of a scope that each page may read again. They are some
// 200 KB, which is 25 read units. A list that reads more stores a snapshot.
const few = 500

// list returns the rows of the query's page, and the number of rows on all pages. The rows
// are strongly consistent; which rows there are comes from an index, which lags, or from a
// snapshot, which is a minute old at most.
func (r rows[R]) list(ctx context.Context, snapshots Snapshots, q listing.Query) ([]R, int, error) {
	ids, total, err := r.page(ctx, snapshots, q)
	if err != nil {
		return nil, 0, fmt.Errorf("listing %s: %w", r.table, err)
	}
	page, err := r.getAll(ctx, ids)
	return page, total, err
}

// page returns the IDs of the query's page, and the number of IDs on all pages.
//
// Offsets make lists expensive: page 100 is found by counting what comes before it. A page near
// the beginning, in the order of the index, reads only the entries up to it: as long as a client
// that asks for one page after another has then read the scope once over. For any other page the
// whole scope is read, and the snapshot of the result serves the pages that follow.
func (r rows[R]) page(ctx context.Context, snapshots Snapshots, q listing.Query) (ids []string, total int, err error) {
	of := scopeOf(r.resource, q)
	count, counted, err := r.counts.get(ctx, of)
	if err != nil {
		return nil, 0, err
	}
	if counted && count.Owner != of.owner {
		return nil, 0, nil // the container is not the caller's
	}
	projects, total := count.readable(q)
	inOrder := func(entries []entry) []entry {
		slices.SortFunc(entries, func(a, b entry) int { return compare(q.Order, a, b) })
		return entries
	}
	to := q.Page * q.PageSize
	if reads := to * len(projects); counted && inIndexOrder(q) && reads < total && reads*(q.Page+1)/2 <= total {
		entries, err := read(ctx, r.client, r.table, of, part{projects, to, q.Order.Descending})
		return idsOf(pageOf(inOrder(entries), q)), total, err
	}
	if mayBeMany := !counted || total > few; mayBeMany && q.Page > 1 {
		if ids, total, ok := snapshots.page(ctx, r.resource, q); ok {
			return ids, total, nil
		}
	}
	all, err := read(ctx, r.client, r.table, of, part{projects: q.ProjectIDs})
	if err != nil {
		return nil, 0, err
	}
	many := len(all) > few
	entries := inOrder(slices.DeleteFunc(all, func(e entry) bool { return !matches(q, e) }))
	if many && len(entries) > q.PageSize {
		if err := snapshots.store(ctx, r.resource, q, idsOf(entries)); err != nil {
			// The page is right without it.
			slog.WarnContext(ctx, "the other pages of a list must read its index again", "error", err)
		}
	}
	return idsOf(pageOf(entries, q)), len(entries), nil
}

func scopeOf(resource string, q listing.Query) scope {
	owner := ownerKey(q.Region, q.OrganizationID)
	if q.ContainerID != "" {
		return scopeOfContainer(resource, owner, q.ContainerID)
	}
	return scopeOfOwner(resource, owner)
}

// readable returns the projects of the query that have rows, and the number of these rows.
func (r countRow) readable(q listing.Query) (projects []string, total int) {
	for project, count := range r.Projects {
		if count > 0 && (q.ProjectIDs == nil || slices.Contains(q.ProjectIDs, project)) {
			projects = append(projects, project)
			total += count
		}
	}
	return projects, total
}

// inIndexOrder reports whether the query asks for all entries of its scope and projects, in the
// order of the index or against it.
func inIndexOrder(q listing.Query) bool {
	return !q.Order.ByName && q.NamespaceID == "" && q.Source == "" && q.Name == ""
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

// entry is a row as the indexes of scopes project it.
type entry struct {
	id, owner, name, namespaceID string
	source                       trigger.Source
	project, created             string // parts of the attribute "listing"
}

func newEntry(item map[string]types.AttributeValue) entry {
	text := func(name string) string {
		value, _ := item[name].(*types.AttributeValueMemberS)
		if value == nil {
			return ""
		}
		return value.Value
	}
	e := entry{
		id: text("id"), owner: text("owner"), name: text("name"),
		namespaceID: text("namespace_id"), source: trigger.Source(text("source_type")),
	}
	e.project, e.created, _ = strings.Cut(text("listing"), "#")
	e.created, _, _ = strings.Cut(e.created, "#")
	return e
}

// maxQueries is the number of projects of a scope that are read at the same time.
const maxQueries = 16

// part is the part of a scope that is read.
type part struct {
	// projects are the projects that are read. Nil means the whole scope.
	projects []string
	// most is the largest number of entries of each project that are read, from the oldest one
	// or from the newest one. 0 means all.
	most       int
	fromNewest bool
}

// read returns the entries of a part of a scope. They are not ordered.
func read(ctx context.Context, client *dynamodb.Client, table string, of scope, p part) ([]entry, error) {
	projects := p.projects
	if projects == nil {
		projects = []string{""}
	}
	entries := make([][]entry, len(projects))
	reads, ctx := errgroup.WithContext(ctx)
	reads.SetLimit(maxQueries)
	for i, project := range projects {
		reads.Go(func() error {
			input := query(table, of, project)
			if input.ScanIndexForward = aws.Bool(!p.fromNewest); p.most > 0 {
				input.Limit = aws.Int32(int32(p.most))
			}
			pages := dynamodb.NewQueryPaginator(client, input)
			for pages.HasMorePages() && (p.most == 0 || len(entries[i]) < p.most) {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return fmt.Errorf("reading the entries of %s: %w", of.name, err)
				}
				for _, item := range page.Items {
					if e := newEntry(item); e.owner == of.owner {
						entries[i] = append(entries[i], e)
					}
				}
			}
			return nil
		})
	}
	err := reads.Wait()
	return slices.Concat(entries...), err
}

// query returns the query for the entries of a scope, or of one of its projects.
func query(table string, of scope, project string) *dynamodb.QueryInput {
	index, keyName, key := of.index()
	condition := "#" + keyName + " = :key"
	values := map[string]types.AttributeValue{":key": &types.AttributeValueMemberS{Value: key}}
	if project != "" {
		condition += " AND begins_with(#listing, :project)"
		values[":project"] = &types.AttributeValueMemberS{Value: project + "#"}
	}
	return &dynamodb.QueryInput{
		TableName: &table, IndexName: &index, KeyConditionExpression: &condition,
		ExpressionAttributeNames: placeholders(condition), ExpressionAttributeValues: values,
	}
}

func matches(q listing.Query, e entry) bool {
	return (q.NamespaceID == "" || q.NamespaceID == e.namespaceID) &&
		(q.Source == "" || q.Source == e.source) &&
		(q.Name == "" || q.Name == e.name)
}

// compare orders entries. Those that were created at the same time are in the order of their
// IDs, and against it in a descending list, as the index has them.
func compare(o listing.Order, a, b entry) int {
	if o.ByName {
		by := strings.Compare(a.name, b.name)
		if o.Descending {
			by = -by
		}
		return cmp.Or(by, strings.Compare(a.id, b.id))
	}
	by := cmp.Or(strings.Compare(a.created, b.created), strings.Compare(a.id, b.id))
	if o.Descending {
		return -by
	}
	return by
}

// pageOf returns the part of a list that is on the query's page. It returns none past the last
// page.
func pageOf[E any](list []E, q listing.Query) []E {
	from := min((q.Page-1)*q.PageSize, len(list))
	return list[from:min(from+q.PageSize, len(list))]
}

func idsOf(entries []entry) []string {
	list := make([]string, len(entries))
	for i, e := range entries {
		list[i] = e.id
	}
	return list
}
