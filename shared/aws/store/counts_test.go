package store_test

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/listing"
	"containertriggers/shared/domain/trigger"
)

// setupCounts returns a bundle with a table of counts of its own, which no other test corrects.
func setupCounts(t *testing.T) *testBundle {
	t.Helper()
	b := setup(t)
	created, err := b.triggers.Client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName:            aws.String("counts-" + uuid.NewString()),
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("scope"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("scope"), KeyType: types.KeyTypeHash}},
		BillingMode:          types.BillingModePayPerRequest,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.triggers.Counts.Table = *created.TableDescription.TableName
	b.containers.Counts.Table = b.triggers.Counts.Table
	return b
}

// total returns the total_count of the container's organization or, if of is true, of the
// container. It fails the test if the list is not as long.
func (b *testBundle) total(of bool) int {
	b.t.Helper()
	q := listing.Query{Region: "fr-par", OrganizationID: b.container.OrganizationID, Page: 1, PageSize: 100}
	if of {
		q.ContainerID = b.container.ID
	}
	page, total, err := b.triggers.List(b.t.Context(), q)
	if err != nil || len(page) != min(total, 100) {
		b.t.Errorf("got %d of %d triggers, %v", len(page), total, err)
	}
	return total
}

// recount compares all counts with their rows at a time, and returns those that differed.
func (b *testBundle) recount(at time.Time) (found []string) {
	b.t.Helper()
	namespaces := store.Namespaces{Client: b.triggers.Client, Table: mototest.Environment(b.t, "create-namespace")["NAMESPACES_TABLE"]}
	for after := ""; ; {
		name, next, err := b.triggers.Counts.Recount(b.t.Context(), b.triggers, b.containers, namespaces, after, at)
		if err != nil {
			b.t.Fatal(err)
		}
		if name != "" {
			found = append(found, name)
		}
		if after = next; next == "" {
			return found
		}
	}
}

// scopes are the names of the counts of the container's triggers.
func (b *testBundle) scopes() []string {
	return []string{"trigger/container#" + b.container.ID, "trigger/fr-par#" + b.container.OrganizationID}
}

func (b *testBundle) remove(tr trigger.Trigger) {
	b.t.Helper()
	if _, err := b.triggers.MarkDeleting(b.t.Context(), tr.ID); err != nil {
		b.t.Fatal(err)
	}
	if err := b.triggers.Remove(b.t.Context(), tr); err != nil {
		b.t.Fatal(err)
	}
}

func TestCounts_FollowEveryCreateAndRemoval(t *testing.T) {
	t.Parallel()
	b := setupCounts(t)
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			created := b.create(daily)
			if i%3 == 0 {
				b.remove(created)
				if err := b.triggers.Remove(t.Context(), created); err != nil { // again
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if ofOrganization, ofContainer := b.total(false), b.total(true); ofOrganization != 8 || ofContainer != 8 {
		t.Errorf("the organization has %d triggers and the container %d, want 8", ofOrganization, ofContainer)
	}
	if found := b.recount(now().Add(time.Hour)); found != nil {
		t.Errorf("%v are wrong", found)
	}
}

func TestCounts_CountARowOnceIfAnswersAreLost(t *testing.T) {
	t.Parallel()
	for lost := 1; lost <= 5; lost++ {
		b := setup(t)
		b.create(daily) // counts the organization and the container
		created := b.draft(daily)
		cfg := mototest.Config(t)
		cfg.HTTPClient = &losing{left: lost}
		b.use(cfg)
		if err := b.triggers.Create(t.Context(), b.containers, created); err != nil {
			t.Errorf("%d answers lost: %v", lost, err)
		}
		if got := b.total(false); got != 2 {
			t.Errorf("%d answers lost: got %d triggers", lost, got)
		}
	}
}

func TestCounts_NoMoreTriggersThanTheQuotaAreCreatedAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.triggers.Quotas = store.Quotas{PerContainer: 9, PerOrganization: 5}
	var refused atomic.Int64
	var group sync.WaitGroup
	for range 12 {
		group.Go(func() {
			err := b.triggers.Create(t.Context(), b.containers, b.draft(daily))
			if told, ok := errors.AsType[*apierr.Error](err); ok {
				details, _ := told.Details.([]apierr.Quota)
				if !slices.Equal(details, []apierr.Quota{{Resource: "triggers_per_organization", Quota: 5, Current: 5}}) {
					t.Errorf("got %+v", told)
				}
				refused.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if total := b.total(false); total != 5 || refused.Load() != 7 {
		t.Errorf("%d triggers exist, %d were refused", total, refused.Load())
	}
}

func TestCounts_BeginWithTheRowsOfAnEarlierRelease(t *testing.T) {
	t.Parallel()
	b := setupCounts(t)
	counting := b.triggers
	b.triggers.Counts = store.Counts{}
	var earlier []trigger.Trigger
	for range 3 {
		earlier = append(earlier, b.create(daily))
	}
	b.triggers = counting
	if got := b.total(false); got != 3 {
		t.Errorf("without a count: got %d triggers", got)
	}
	b.remove(earlier[0])
	if got := b.total(true); got != 2 || b.counted(b.scopes()[0]) {
		t.Errorf("after a removal: got %d triggers, or a count", got)
	}
	b.create(daily)
	if ofOrganization, ofContainer := b.total(false), b.total(true); ofOrganization != 3 || ofContainer != 3 {
		t.Errorf("the organization has %d triggers and the container %d, want 3", ofOrganization, ofContainer)
	}
	if found := b.recount(now().Add(time.Hour)); found != nil {
		t.Errorf("%v are wrong", found)
	}
}

func TestRecount_CorrectsACountOnceItHasSettled(t *testing.T) {
	t.Parallel()
	b := setupCounts(t)
	created := b.create(daily)
	b.create(daily)
	uncounted := b.triggers
	uncounted.Counts = store.Counts{}
	if _, err := b.triggers.MarkDeleting(t.Context(), created.ID); err != nil {
		t.Fatal(err)
	}
	if err := uncounted.Remove(t.Context(), created); err != nil { // as by hand
		t.Fatal(err)
	}
	if found := b.recount(now()); found != nil {
		t.Errorf("found %v at once", found)
	}
	if found := b.recount(now().Add(time.Hour)); !slices.Equal(slices.Sorted(slices.Values(found)), b.scopes()) {
		t.Errorf("found %v", found)
	}
	if ofOrganization, ofContainer := b.total(false), b.total(true); ofOrganization != 1 || ofContainer != 1 {
		t.Errorf("the organization has %d triggers and the container %d, want 1", ofOrganization, ofContainer)
	}
}

func TestCounts_EndWithTheirContainer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.remove(b.create(daily))
	if _, err := b.containers.MarkDeleting(t.Context(), b.container.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.containers.Remove(t.Context(), b.container); err != nil {
		t.Fatal(err)
	}
	if b.counted(b.scopes()[0]) || !b.counted(b.scopes()[1]) {
		t.Error("the count of the container is there, or that of the organization is gone")
	}
	_, total, err := b.containers.List(t.Context(), listing.Query{Region: "fr-par", OrganizationID: b.container.OrganizationID, Page: 1, PageSize: 1})
	if err != nil || total != 0 {
		t.Errorf("%d containers are left, %v", total, err)
	}
}

func TestList_TellsNothingOfTheContainersOfOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 3 {
		b.create(daily)
	}
	for name, q := range map[string]listing.Query{
		"of another organization": {OrganizationID: uuid.NewString()},
		"of another project":      {OrganizationID: b.container.OrganizationID, ProjectIDs: []string{uuid.NewString()}},
		"of another region":       {OrganizationID: b.container.OrganizationID, Region: "nl-ams"},
	} {
		if q.Region == "" {
			q.Region = "fr-par"
		}
		q.ContainerID, q.Page, q.PageSize = b.container.ID, 1, 1
		for range 2 { // with the count, and without one
			if page, total, err := b.triggers.List(t.Context(), q); err != nil || total != 0 || len(page) != 0 {
				t.Errorf("%s: got %d of %d, %v", name, len(page), total, err)
			}
			b.triggers.Counts = store.Counts{}
		}
	}
}

// counted reports whether a scope has a count.
func (b *testBundle) counted(scope string) bool {
	b.t.Helper()
	answer, err := b.triggers.Client.GetItem(b.t.Context(), &dynamodb.GetItemInput{
		TableName: &b.triggers.Counts.Table, Key: map[string]types.AttributeValue{"scope": &types.AttributeValueMemberS{Value: scope}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return answer.Item != nil
}
