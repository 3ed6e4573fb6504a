package resource_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/listing"
	"containertriggers/shared/domain/trigger"
)

// testBundle is an organization with two projects, a container in each, and
// callers by the names that they use as secret keys.
type testBundle struct {
	t          *testing.T
	handlers   resource.Handlers[trigger.Trigger]
	triggers   store.Triggers
	containers store.Containers
	sealer     seal.Sealer
	owners     []auth.Owner
	on         []string // the containers
	callers    map[string]auth.Principal
}

// Authenticate makes the bundle an authenticator.
func (b *testBundle) Authenticate(_ context.Context, key string) (auth.Principal, error) {
	caller, ok := b.callers[key]
	if !ok {
		return auth.Principal{}, apierr.DeniedAuthentication(apierr.DeniedNotFound)
	}
	return caller, nil
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	env, cfg := mototest.Environment(t, "update-trigger"), mototest.Config(t)
	db := dynamodb.NewFromConfig(cfg)
	b := &testBundle{
		t: t, triggers: store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]},
		containers: store.Containers{Client: db, Table: mototest.Environment(t, "create-trigger")["CONTAINERS_TABLE"]},
		sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: env["KMS_KEY_ID"]},
	}
	b.handlers = resource.Handlers[trigger.Trigger]{Name: trigger.Resource, Store: b.triggers}
	organization := uuid.NewString()
	for range 3 {
		owner := auth.Owner{OrganizationID: organization, ProjectID: uuid.NewString()}
		ct := container.Container{ID: uuid.NewString(), Region: "fr-par", Owner: owner, Status: container.Ready, Tags: []string{}, Generation: 1}
		if err := b.containers.Create(t.Context(), ct); err != nil {
			t.Fatal(err)
		}
		b.owners, b.on = append(b.owners, owner), append(b.on, ct.ID)
	}
	b.callers = map[string]auth.Principal{
		"all":      {OrganizationID: organization, PermissionSet: auth.FullAccess},
		"first":    {OrganizationID: organization, ProjectIDs: []string{b.owners[0].ProjectID}, PermissionSet: auth.FullAccess},
		"both":     {OrganizationID: organization, ProjectIDs: []string{b.owners[0].ProjectID, b.owners[1].ProjectID}, PermissionSet: auth.FullAccess},
		"readonly": {OrganizationID: organization, PermissionSet: auth.ReadOnly},
		"stranger": {OrganizationID: uuid.NewString(), PermissionSet: auth.FullAccess},
	}
	return b
}

// create adds a trigger to the container of a project.
func (b *testBundle) create(project int, name, config string) string {
	b.t.Helper()
	body := fmt.Sprintf(`{"name":%q,"container_id":%q,%s}`, name, b.on[project], config)
	created, _, err := trigger.Create([]byte(body), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	created.Owner = b.owners[project]
	if err := b.triggers.Create(b.t.Context(), b.containers, created); err != nil {
		b.t.Fatal(err)
	}
	return created.ID
}

const (
	daily = `"cron_config":{"schedule":"@daily"}`
	nats  = `"nats_config":{"server_urls":["nats://n"],"subject":"s"}`
)

// serve runs an operation for a caller and gives the status and the body.
func serve[T any](b *testBundle, op httpapi.Operation[T], caller, region, id, query, body string) (int, map[string]any) {
	b.t.Helper()
	event := events.APIGatewayV2HTTPRequest{
		Headers: map[string]string{"x-auth-token": caller, "content-type": "application/json"}, RawQueryString: query, Body: body,
		PathParameters: map[string]string{"region": region},
	}
	event.RequestContext.HTTP.Method = http.MethodGet
	if body != "" {
		event.RequestContext.HTTP.Method = http.MethodPatch
	}
	if id != "" {
		event.PathParameters["trigger_id"] = id
	}
	response, err := httpapi.New(b, httpapi.Settings{Regions: []string{"fr-par", "nl-ams"}}, op)(context.Background(), event)
	if err != nil {
		b.t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal([]byte(response.Body), &answer); err != nil {
		b.t.Fatal(err)
	}
	return response.StatusCode, answer
}

func (b *testBundle) update() httpapi.Operation[trigger.Trigger] {
	return b.handlers.Update(func(ctx context.Context, old trigger.Trigger, body []byte) (trigger.Trigger, error) {
		updated, text, err := old.Update(body, time.Now())
		if err != nil || text == nil {
			return updated, err
		}
		sealed, err := b.sealer.Seal(ctx, trigger.Resource, updated.ID, *text)
		return updated.WithSecret(sealed), err
	})
}

func TestList_HoldsTheResourcesThatTheCallerMayRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(0, "one", daily)
	b.create(1, "two", daily)
	b.create(2, "three", daily)
	list := b.handlers.List("triggers", listing.Triggers)
	for caller, want := range map[string][]any{
		"all": {"one", "three", "two"}, "first": {"one"}, "both": {"one", "two"}, "readonly": {"one", "three", "two"}, "stranger": {},
	} {
		for query, want := range map[string][]any{
			"order_by=name_asc": want,
			"order_by=name_asc&project_id=" + b.owners[0].ProjectID: slices.DeleteFunc(slices.Clone(want), func(name any) bool { return name != "one" }),
			"project_id=" + uuid.NewString():                        {},
			"organization_id=" + uuid.NewString():                   {},
		} {
			status, answer := serve(b, list, caller, "fr-par", "", query, "")
			var names []any
			for _, row := range answer["triggers"].([]any) {
				names = append(names, row.(map[string]any)["name"])
			}
			if status != 200 || fmt.Sprint(names) != fmt.Sprint(want) || answer["total_count"] != float64(len(want)) {
				t.Errorf("%s, %s: got %d %v, want %v", caller, query, status, answer, want)
			}
		}
	}
	if status, answer := serve(b, list, "all", "nl-ams", "", "", ""); status != 200 || answer["total_count"] != 0.0 {
		t.Errorf("in another region: got %d %v", status, answer)
	}
}

func TestHandlers_AnswerNotFoundInAnotherRegion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(0, "n", daily)
	for name, status := range map[string]int{
		"get":    first(serve(b, b.handlers.Get(), "all", "nl-ams", id, "", "")),
		"update": first(serve(b, b.update(), "all", "nl-ams", id, "", `{"name":"x"}`)),
		"delete": first(serve(b, b.handlers.Delete(), "all", "nl-ams", id, "", "")),
	} {
		if status != http.StatusNotFound {
			t.Errorf("%s: got %d", name, status)
		}
	}
	if status, answer := serve(b, b.handlers.Get(), "all", "fr-par", id, "", ""); status != 200 || answer["name"] != "n" || answer["status"] != "creating" {
		t.Errorf("got %d %v", status, answer)
	}
}

func TestHandlers_AnswerNotFoundToOtherOwners(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(1, "n", daily)
	for _, caller := range []string{"stranger", "first"} { // of another organization, of another project
		for name, status := range map[string]int{
			"get":    first(serve(b, b.handlers.Get(), caller, "fr-par", id, "", "")),
			"update": first(serve(b, b.update(), caller, "fr-par", id, "", `{"name":"x"}`)),
			"delete": first(serve(b, b.handlers.Delete(), caller, "fr-par", id, "", "")),
		} {
			if status != http.StatusNotFound {
				t.Errorf("%s by %s: got %d", name, caller, status)
			}
		}
	}
	if got, err := b.triggers.Get(t.Context(), id); err != nil || got.Name != "n" || got.Generation != 1 {
		t.Errorf("it was changed all the same: %+v, %v", got, err)
	}
}

func first(status int, _ map[string]any) int { return status }

func TestUpdate_AppliesConcurrentUpdatesOneAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(0, "n", daily)
	const updates = 15
	var group sync.WaitGroup
	for i := range updates {
		group.Go(func() {
			if status, answer := serve(b, b.update(), "first", "fr-par", id, "", fmt.Sprintf(`{"cron_config":{"headers":{"h":"%d"}}}`, i)); status != 200 || answer["status"] != "updating" {
				t.Errorf("got %d %v", status, answer)
			}
		})
	}
	group.Wait()
	got, err := b.triggers.Get(t.Context(), id)
	if err != nil || got.Generation != 1+updates {
		t.Errorf("got generation %d, %v", got.Generation, err)
	}
}

// crowded is a table in which another update always comes first.
type crowded struct{ store.Triggers }

func (c crowded) Update(context.Context, trigger.Trigger, trigger.Trigger) (trigger.Trigger, error) {
	return trigger.Trigger{Generation: 1, Cron: &trigger.Cron{}}, store.ErrSuperseded
}

func TestUpdate_ReturnsTooManyRequestsIfOthersAlwaysWin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(0, "n", daily)
	b.handlers.Store = crowded{b.triggers}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	found, err := b.triggers.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.update().Do(ctx, b.callers["all"], httpapi.Request{Region: "fr-par", ID: id, Body: []byte(`{"name":"x"}`)}, found)
	if told := apierr.From(err); told.Type != apierr.TypeTooManyRequests || told.RetryAfter == 0 {
		t.Errorf("got %v", err)
	}
}

// cutOff is a table at which the deadline, which end brings about, comes before the outcome of
// a write, which took effect or not.
type cutOff struct {
	store.Triggers
	written bool
	end     func()
}

func (c cutOff) Update(ctx context.Context, old, updated trigger.Trigger) (trigger.Trigger, error) {
	if c.written {
		if current, err := c.Triggers.Update(ctx, old, updated); err != nil {
			return current, err
		}
	}
	c.end()
	return trigger.Trigger{}, ctx.Err()
}

func TestUpdate_LooksAgainIfTheDeadlineCutsOffItsWrite(t *testing.T) {
	t.Parallel()
	b := setup(t)
	triggers := b.triggers
	for _, written := range []bool{true, false} {
		id := b.create(0, "n", daily)
		found, err := triggers.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		b.handlers.Store = cutOff{triggers, written, cancel}
		answer, err := b.update().Do(ctx, b.callers["all"], httpapi.Request{Region: "fr-par", ID: id, Body: []byte(`{"name":"x"}`)}, found)
		if updated, ok := answer.(trigger.Trigger); written && (err != nil || !ok || updated.Name != "x") {
			t.Errorf("a write that took effect: got %v, %v", answer, err)
		}
		if told := apierr.From(err); !written && told.Type != apierr.TypeTooManyRequests {
			t.Errorf("a write that did not take effect: got %v, %v", answer, err)
		}
	}
}

func TestUpdate_SealsAndRemovesTheSecret(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(0, "n", nats)
	status, answer := serve(b, b.update(), "all", "fr-par", id, "", `{"nats_config":{"credentials_file_content":"hush"}}`)
	if text := fmt.Sprint(answer); status != 200 || strings.Contains(text, "hush") {
		t.Fatalf("got %d %s", status, text)
	}
	stored, err := b.triggers.Get(t.Context(), id)
	if err != nil || bytes.Contains(stored.SealedSecret, []byte("hush")) {
		t.Fatalf("got %v", err)
	}
	if text, err := b.sealer.Open(t.Context(), trigger.Resource, id, stored.SealedSecret); err != nil || text != "hush" {
		t.Errorf("the secret does not open: %v", err)
	}
	if status, _ := serve(b, b.update(), "all", "fr-par", id, "", `{"nats_config":{"credentials_file_content":""}}`); status != 200 {
		t.Errorf("got %d", status)
	}
	if stored, err := b.triggers.Get(t.Context(), id); err != nil || len(stored.SealedSecret) != 0 {
		t.Errorf("the secret is still there: %v", err)
	}
}

func TestDelete_IsIdempotentUntilTheResourceIsRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(0, "n", daily)
	if status, _ := serve(b, b.handlers.Delete(), "readonly", "fr-par", id, "", ""); status != http.StatusForbidden {
		t.Errorf("a read-only key: got %d", status)
	}
	for range 2 {
		if status, answer := serve(b, b.handlers.Delete(), "first", "fr-par", id, "", ""); status != 200 || answer["status"] != "deleting" {
			t.Errorf("got %d %v", status, answer)
		}
	}
	if status, answer := serve(b, b.update(), "first", "fr-par", id, "", `{"name":"x"}`); status != http.StatusConflict || answer["current_state"] != "deleting" {
		t.Errorf("an update meanwhile: got %d %v", status, answer)
	}
	if err := b.triggers.Remove(t.Context(), trigger.Trigger{ID: id}); err != nil {
		t.Fatal(err)
	}
	if status, _ := serve(b, b.handlers.Delete(), "first", "fr-par", id, "", ""); status != http.StatusNotFound {
		t.Errorf("once it is gone: got %d", status)
	}
}
