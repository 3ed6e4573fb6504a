package store_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/listing"
	"containertriggers/shared/domain/trigger"
)

// reads counts the entries that queries read from indexes.
type reads struct{ entries atomic.Int64 }

func (r *reads) use(cfg *aws.Config) {
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Reads", func(
			ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
		) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleInitialize(ctx, in)
			if page, ok := out.Result.(*dynamodb.QueryOutput); ok {
				r.entries.Add(int64(page.ScannedCount))
			}
			return out, metadata, err
		}), middleware.Before)
	})
}

// crowd is an organization with many triggers in several projects.
type crowd struct {
	*testBundle
	reads    *reads
	all      []trigger.Trigger
	projects []string
	on       []string // containers
}

// newCrowd writes the triggers straight into the table. Creates count them.
func newCrowd(t *testing.T, count, projects int) *crowd {
	t.Helper()
	c := &crowd{testBundle: setup(t), reads: &reads{}}
	cfg := mototest.Config(t)
	c.reads.use(&cfg)
	c.use(cfg)
	for i := range projects {
		c.container.ID, c.container.ProjectID, c.container.NamespaceID = uuid.NewString(), uuid.NewString(), uuid.NewString()
		if err := c.containers.Create(t.Context(), c.container); err != nil {
			t.Fatal(err)
		}
		c.projects, c.on = append(c.projects, c.container.ProjectID), append(c.on, c.container.ID)
		c.all = append(c.all, c.create(daily))
		if i == 0 {
			c.copy(c.all[0], count-projects)
		}
	}
	return c
}

// copy writes copies of a trigger with other IDs, names, times and sources. The counts of its
// organization and container become those of the rows.
func (c *crowd) copy(of trigger.Trigger, count int) {
	c.t.Helper()
	got, err := c.triggers.Client.GetItem(c.t.Context(), &dynamodb.GetItemInput{
		TableName: &c.triggers.Table, Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: of.ID}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	text := func(value string) types.AttributeValue { return &types.AttributeValueMemberS{Value: value} }
	var requests []types.WriteRequest
	for i := range count {
		one := of
		one.ID, one.Name = uuid.NewString(), fmt.Sprintf("n%04d", rand.N(count))
		one.CreatedAt = of.CreatedAt.Add(time.Duration(i+1) * time.Microsecond)
		row := maps.Clone(got.Item)
		row["id"], row["name"] = text(one.ID), text(one.Name)
		row["listing"] = text(one.ProjectID + "#" + one.CreatedAt.Format("2006-01-02T15:04:05.000000Z") + "#" + one.ID)
		if i%2 == 0 {
			row["source_type"] = text("sqs")
			one.Cron, one.SQS = nil, &trigger.SQS{}
		}
		c.all = append(c.all, one)
		requests = append(requests, types.WriteRequest{PutRequest: &types.PutRequest{Item: row}})
	}
	for some := range slices.Chunk(requests, 25) {
		if _, err := c.triggers.Client.BatchWriteItem(c.t.Context(), &dynamodb.BatchWriteItemInput{
			RequestItems: map[string][]types.WriteRequest{c.triggers.Table: some},
		}); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, name := range []string{"trigger/container#" + of.ContainerID, "trigger/fr-par#" + of.OrganizationID} {
		if _, err := c.triggers.Client.UpdateItem(c.t.Context(), &dynamodb.UpdateItemInput{
			TableName: &c.triggers.Counts.Table, Key: map[string]types.AttributeValue{"scope": text(name)},
			UpdateExpression:         aws.String("SET #total = #total + :n, projects.#project = projects.#project + :n"),
			ExpressionAttributeNames: map[string]string{"#total": "total", "#project": of.ProjectID},
			ExpressionAttributeValues: map[string]types.AttributeValue{
				":n": &types.AttributeValueMemberN{Value: fmt.Sprint(count)},
			},
		}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// page returns a page, its total_count, and how many entries of the index it read.
func (c *crowd) page(q listing.Query, number, size int) (ids []string, total int, read int64) {
	c.t.Helper()
	q.Region, q.OrganizationID, q.Page, q.PageSize = "fr-par", c.container.OrganizationID, number, size
	before := c.reads.entries.Load()
	page, total, err := c.triggers.List(c.t.Context(), q)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, tr := range page {
		ids = append(ids, tr.ID)
	}
	return ids, total, c.reads.entries.Load() - before
}

// want returns the IDs that a query asks for, of all pages.
func (c *crowd) want(q listing.Query) (ids []string) {
	matching := slices.DeleteFunc(slices.Clone(c.all), func(tr trigger.Trigger) bool {
		return q.ProjectIDs != nil && !slices.Contains(q.ProjectIDs, tr.ProjectID) ||
			q.ContainerID != "" && q.ContainerID != tr.ContainerID || q.Source != "" && q.Source != tr.Source()
	})
	slices.SortFunc(matching, func(a, b trigger.Trigger) int {
		by := a.CreatedAt.Compare(b.CreatedAt)
		if q.Order.ByName {
			by = strings.Compare(a.Name, b.Name)
		}
		if q.Order.Descending {
			by = -by
		}
		return cmp.Or(by, strings.Compare(a.ID, b.ID))
	})
	for _, tr := range matching {
		ids = append(ids, tr.ID)
	}
	return ids
}

func TestList_AnswersEveryPageAndReadsTheIndexFewTimes(t *testing.T) {
	t.Parallel()
	const count = 650
	c := newCrowd(t, count, 2)
	for name, test := range map[string]struct {
		listing.Query
		// first is the largest number of entries that page 1 of 50 triggers may read.
		first int64
	}{
		"by default":                {listing.Query{}, 100},
		"the newest first":          {listing.Query{Order: listing.Order{Descending: true}}, 100},
		"of a project":              {listing.Query{ProjectIDs: c.projects[:1]}, 50},
		"of some projects":          {listing.Query{ProjectIDs: c.projects[:2]}, 100},
		"of a container":            {listing.Query{ContainerID: c.on[0]}, 50},
		"of a container, backwards": {listing.Query{ContainerID: c.on[0], Order: listing.Order{Descending: true}}, 50},
		"by name":                   {listing.Query{Order: listing.Order{ByName: true}}, count},
		"by name, backwards":        {listing.Query{Order: listing.Order{ByName: true, Descending: true}}, count},
		"of a source":               {listing.Query{Source: trigger.SourceSQS}, count},
	} {
		t.Run(name, func(t *testing.T) {
			want := c.want(test.Query)
			for _, size := range []int{50, 100} {
				var got []string
				var all int64
				for number := 1; len(got) < len(want); number++ {
					ids, total, read := c.page(test.Query, number, size)
					if total != len(want) || len(ids) == 0 {
						t.Fatalf("page %d of %d: got %d of %d", number, size, len(ids), total)
					}
					if most := test.first * int64(size) / 50; number == 1 && read > max(most, test.first) {
						t.Errorf("page 1 of %d read %d entries", size, read)
					}
					got, all = append(got, ids...), all+read
				}
				if !slices.Equal(got, want) {
					t.Errorf("pages of %d: got other triggers than expected", size)
				}
				if all > 3*count {
					t.Errorf("pages of %d read %d entries of %d", size, all, count)
				}
				if ids, total, _ := c.page(test.Query, 1<<31-1, size); len(ids) != 0 || total != len(want) {
					t.Errorf("past the last page: got %d of %d", len(ids), total)
				}
			}
		})
	}
}

func TestList_ReadsOnlyTheProjectsThatTheCallerMayRead(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 600, 3)
	for name, test := range map[string]struct {
		projects []string
		most     int64
	}{
		"a small project":             {c.projects[1:2], 1},
		"two small projects":          {c.projects[1:], 2},
		"a project without a trigger": {[]string{uuid.NewString()}, 0},
		"none":                        {[]string{}, 0},
	} {
		for _, q := range []listing.Query{{}, {Order: listing.Order{ByName: true}}, {Source: trigger.SourceCron}} {
			q.ProjectIDs = test.projects
			if ids, total, read := c.page(q, 1, 20); int64(total) != test.most || len(ids) != total || read > test.most {
				t.Errorf("%s: %+v: got %d of %d, read %d entries", name, q, len(ids), total, read)
			}
		}
	}
}

func TestList_PageAfterAnotherReadsNoIndexOfOtherOrders(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 600, 1)
	for name, q := range map[string]listing.Query{
		"by name": {Order: listing.Order{ByName: true}}, "of a source": {Source: trigger.SourceSQS},
	} {
		c.page(q, 1, 100)
		for number := 2; number < 4; number++ {
			if ids, _, read := c.page(q, number, 100); read != 0 || len(ids) != 100 {
				t.Errorf("%s: page %d read %d entries for %d triggers", name, number, read, len(ids))
			}
		}
	}
}

func TestList_DoesNotNeedItsSnapshots(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 700, 1)
	q := listing.Query{Order: listing.Order{ByName: true}}
	want := c.want(q)
	check := func(what string, total int) {
		t.Helper()
		for number := 1; number <= 2; number++ {
			if ids, got, _ := c.page(q, number, 100); got != total || !slices.Equal(ids, want[(number-1)*100:number*100]) {
				t.Errorf("%s: page %d has %d of %d", what, number, len(ids), got)
			}
		}
	}
	snapshots := c.triggers.Snapshots
	c.triggers.Snapshots.Table = "there-is-none"
	check("without a table", len(want))
	c.triggers.Snapshots = snapshots
	check("with a snapshot", len(want))
	c.expire()
	c.remove(trigger.Trigger{ID: want[699], Region: "fr-par", ContainerID: c.container.ID, Owner: auth.Owner{
		OrganizationID: c.container.OrganizationID, ProjectID: c.container.ProjectID,
	}})
	check("with an old snapshot", len(want)-1)
}

// expire makes the snapshots of as many triggers two minutes old. Other tests have snapshots of
// other numbers.
func (c *crowd) expire() {
	c.t.Helper()
	pages := dynamodb.NewScanPaginator(c.triggers.Client, &dynamodb.ScanInput{
		TableName: &c.triggers.Snapshots.Table, FilterExpression: aws.String("#total = :total"),
		ExpressionAttributeNames:  map[string]string{"#total": "total"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":total": &types.AttributeValueMemberN{Value: fmt.Sprint(len(c.all))}},
	})
	old := time.Now().UTC().Add(-2 * time.Minute).Format("2006-01-02T15:04:05.000000Z")
	for pages.HasMorePages() {
		page, err := pages.NextPage(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		for _, row := range page.Items {
			row["taken_at"] = &types.AttributeValueMemberS{Value: old}
			if _, err := c.triggers.Client.PutItem(c.t.Context(), &dynamodb.PutItemInput{TableName: &c.triggers.Snapshots.Table, Item: row}); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}
