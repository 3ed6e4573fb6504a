package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/listing"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/backoff"
)

type testBundle struct {
	t          *testing.T
	triggers   store.Triggers
	containers store.Containers
	container  container.Container
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	b := &testBundle{t: t}
	b.use(mototest.Config(t))
	b.container = container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{"a"}, Generation: 1, Name: "c",
		Owner:          auth.Owner{OrganizationID: uuid.NewString(), ProjectID: uuid.NewString(), NamespaceID: uuid.NewString()},
		PublicEndpoint: "https://example.com", Privacy: container.Private, Timeout: 1500 * time.Millisecond, SealedToken: []byte{1},
		CreatedAt: now(), UpdatedAt: now(),
	}
	if err := b.containers.Create(t.Context(), b.container); err != nil {
		t.Fatal(err)
	}
	return b
}

// use makes the tables with an AWS of the test's choice.
func (b *testBundle) use(cfg aws.Config) {
	env, db := mototest.Environment(b.t, "create-trigger"), dynamodb.NewFromConfig(cfg)
	counts := store.Counts{Client: db, Table: env["COUNTS_TABLE"]}
	snapshots := store.Snapshots{Client: db, Table: mototest.Environment(b.t, "list-trigger")["SNAPSHOTS_TABLE"]}
	b.triggers = store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"], Counts: counts, Snapshots: snapshots}
	b.containers = store.Containers{Client: db, Table: env["CONTAINERS_TABLE"], Counts: counts, Snapshots: snapshots}
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func (b *testBundle) draft(config string) trigger.Trigger {
	b.t.Helper()
	body := fmt.Sprintf(`{"name":"n","tags":["x"],"container_id":%q,%s}`, b.container.ID, config)
	created, _, err := trigger.Create([]byte(body), uuid.NewString(), "fr-par", now())
	if err != nil {
		b.t.Fatal(err)
	}
	created.Owner, created.SealedSecret = b.container.Owner, []byte("sealed")
	return created
}

const daily = `"cron_config":{"schedule":"@daily","headers":{"a":"b"},"body":"é"}`

func (b *testBundle) create(config string) trigger.Trigger {
	b.t.Helper()
	created := b.draft(config)
	if err := b.triggers.Create(b.t.Context(), b.containers, created); err != nil {
		b.t.Fatal(err)
	}
	return created
}

func (b *testBundle) get(id string) trigger.Trigger {
	b.t.Helper()
	found, err := b.triggers.Get(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

func TestGet_ReturnsTheRowAsWritten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, config := range []string{
		daily,
		`"sqs_config":{"endpoint":"https://e","access_key_id":"a","secret_access_key":"s","queue_url":"https://q"}`,
		`"nats_config":{"server_urls":["nats://a","tls://b"],"subject":"s.>"}`,
	} {
		created := b.create(config)
		if got := b.get(created.ID); fmt.Sprintf("%+v %+v", got, deref(got)) != fmt.Sprintf("%+v %+v", created, deref(created)) &&
			fmt.Sprint(deref(got)) != fmt.Sprint(deref(created)) {
			t.Errorf("got  %+v\nwant %+v", got, created)
		}
	}
	got, err := b.containers.Get(t.Context(), b.container.ID)
	if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", b.container) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, b.container)
	}
}

// deref is what a trigger's pointers point to.
func deref(t trigger.Trigger) string {
	text, _ := t.MarshalJSON()
	return string(text) + fmt.Sprint(t.Owner, t.Region, string(t.SealedSecret), t.Generation, t.ObservedGeneration)
}

func TestTriggers_CreateRefusesAContainerBeingDeleted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.containers.MarkDeleting(t.Context(), b.container.ID); err != nil {
		t.Fatal(err)
	}
	draft := b.draft(daily)
	err := b.triggers.Create(t.Context(), b.containers, draft)
	if told := apierr.From(err); !errors.Is(err, store.ErrNotFound) || told.Resource != "container" {
		t.Errorf("got %v", err)
	}
	if _, err := b.triggers.Get(t.Context(), draft.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("half a create: %v", err)
	}
}

// losing is an HTTP client that loses the answers of the first calls, which have
// taken effect.
type losing struct {
	mu   sync.Mutex
	left int
}

func (c *losing) Do(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultClient.Do(request)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && c.left > 0 {
		c.left--
		response.Body.Close()
		return nil, errors.New("the answer was lost")
	}
	return response, err
}

func TestTriggers_CreateSucceedsIfOnlyItsAnswersAreLost(t *testing.T) {
	t.Parallel()
	for lost := 1; lost <= 5; lost++ { // the SDK tries three times; then the row is read
		b := setup(t)
		b.create(daily) // so that there are counts
		cfg := mototest.Config(t)
		cfg.HTTPClient = &losing{left: lost}
		b.use(cfg)
		draft := b.draft(daily)
		if err := b.triggers.Create(t.Context(), b.containers, draft); err != nil {
			t.Errorf("%d answers lost: %v", lost, err)
		}
		if got := b.get(draft.ID); got.Generation != 1 {
			t.Errorf("%d answers lost: got generation %d", lost, got.Generation)
		}
	}
}

func TestTriggers_UpdateAppliesEveryParallelUpdate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.create(daily)
	const updates = 30
	var group sync.WaitGroup
	for i := range updates {
		group.Go(func() {
			current := b.get(created.ID)
			for tries := 0; ; tries++ {
				updated, _, err := current.Update(fmt.Appendf(nil, `{"cron_config":{"body":"%d"}}`, i), now())
				if err != nil {
					t.Error(err)
					return
				}
				current, err = b.triggers.Update(t.Context(), current, updated)
				if errors.Is(err, store.ErrSuperseded) {
					err = backoff.AfterConflict(t.Context(), tries)
				} else if err == nil {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if got := b.get(created.ID); got.Generation != 1+updates || got.Status != trigger.Updating {
		t.Errorf("got generation %d, %s", got.Generation, got.Status)
	}
}

func TestTriggers_MarkObservedOfAnOldGenerationChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.create(daily)
	updated, _, err := created.Update([]byte(`{"cron_config":{"body":"new"}}`), now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.triggers.Update(t.Context(), created, updated); err != nil {
		t.Fatal(err)
	}
	if err := b.triggers.MarkObserved(t.Context(), created, "", now()); !errors.Is(err, store.ErrSuperseded) {
		t.Errorf("got %v", err)
	}
	if got := b.get(created.ID); got.Status != trigger.Updating || got.Settled() {
		t.Errorf("got %s, settled: %t", got.Status, got.Settled())
	}
	if err := b.triggers.MarkObserved(t.Context(), updated, "no such queue", now()); err != nil {
		t.Fatal(err)
	}
	failed := b.get(created.ID)
	if failed.Status != trigger.Error || failed.ErrorMessage != "no such queue" || !failed.Settled() || !failed.UpdatedAt.After(updated.UpdatedAt) {
		t.Errorf("got %+v", failed)
	}
}

func TestTriggers_UpdateOfTheNameKeepsTheStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.create(daily)
	renamed, _, err := created.Update([]byte(`{"name":"other"}`), now())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.triggers.MarkObserved(t.Context(), created, "", now()); err != nil { // between the read and the write
		t.Fatal(err)
	}
	if _, err := b.triggers.Update(t.Context(), created, renamed); err != nil {
		t.Fatal(err)
	}
	if got := b.get(created.ID); got.Status != trigger.Ready || got.Name != "other" {
		t.Errorf("got %s, %s", got.Status, got.Name)
	}
}

func TestTriggers_SetLastErrorChangesReadyTriggersOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.create(daily)
	note := func(message string) {
		t.Helper()
		if err := b.triggers.SetLastError(t.Context(), created.ID, message); err != nil {
			t.Fatal(err)
		}
	}
	note("too early")
	if got := b.get(created.ID).ErrorMessage; got != "" {
		t.Errorf("got %q while creating", got)
	}
	if err := b.triggers.MarkObserved(t.Context(), created, "", now()); err != nil {
		t.Fatal(err)
	}
	ready := b.get(created.ID)
	note("the container answered 500")
	got := b.get(created.ID)
	if got.ErrorMessage != "the container answered 500" || !got.UpdatedAt.Equal(ready.UpdatedAt) {
		t.Errorf("got %q at %s", got.ErrorMessage, got.UpdatedAt)
	}
	note("")
	if got := b.get(created.ID).ErrorMessage; got != "" {
		t.Errorf("got %q after a success", got)
	}
	if err := b.triggers.SetLastError(t.Context(), uuid.NewString(), "gone"); err != nil {
		t.Errorf("of a trigger that is gone: %v", err)
	}
}

func TestTriggers_MarkDeletingAndRemoveAreIdempotent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.create(daily)
	if err := b.triggers.Remove(t.Context(), created); !errors.Is(err, store.ErrSuperseded) {
		t.Errorf("removing a trigger that nobody deleted: %v", err)
	}
	for range 2 {
		deleting, err := b.triggers.MarkDeleting(t.Context(), created.ID)
		if err != nil || deleting.Status != trigger.Deleting || deleting.Generation != 2 || !deleting.UpdatedAt.Equal(created.UpdatedAt) {
			t.Errorf("got %+v, %v", deleting, err)
		}
	}
	for range 2 {
		if err := b.triggers.Remove(t.Context(), created); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.triggers.MarkDeleting(t.Context(), created.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestLookup_ReadsATriggerAndItsContainer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.create(daily)
	look := func(triggerID, containerID string) error {
		tr, ct, err := store.Lookup(context.Background(), b.triggers.Client, b.triggers.Table, b.containers.Table, triggerID, containerID)
		if err == nil && (tr.ID != triggerID || ct.ID != containerID) {
			t.Errorf("got %s and %s", tr.ID, ct.ID)
		}
		return err
	}
	if err := look(created.ID, b.container.ID); err != nil {
		t.Error(err)
	}
	if err := look(uuid.NewString(), b.container.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if err := look(created.ID, uuid.NewString()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestTriggers_ListSortsEqualNamesByID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 5 {
		b.create(daily)
	}
	for _, order := range []listing.Order{{ByName: true}, {ByName: true, Descending: true}} {
		page, total, err := b.triggers.List(t.Context(), listing.Query{
			Region: "fr-par", OrganizationID: b.container.OrganizationID, Order: order, Page: 1, PageSize: 100,
		})
		if err != nil || total != 5 || len(page) != 5 {
			t.Fatalf("got %d of %d, %v", len(page), total, err)
		}
		for i := 1; i < len(page); i++ {
			if page[i-1].ID >= page[i].ID {
				t.Errorf("%+v: %s comes before %s", order, page[i-1].ID, page[i].ID)
			}
		}
	}
}
