package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/auth"
	"containertriggers/shared/container"
	"containertriggers/shared/fault"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/seal"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

type testBundle struct {
	function
	t         *testing.T
	container container.Container
	caller    auth.Caller
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	env, cfg := mototest.Environment(t, "create-trigger"), mototest.Config(t)
	db := dynamodb.NewFromConfig(cfg)
	triggers := table.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]}
	b := &testBundle{t: t, function: function{
		triggers:   triggers,
		containers: table.Containers{Client: db, Table: env["CONTAINERS_TABLE"]},
		sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: env["KMS_KEY_ID"]},
		room:       newRoom(quotas{PerContainer: 100, PerOrganization: 100, APIRate: 1, APIBurst: 1}, triggers, time.Now),
		newID:      uuid.NewString, now: time.Now,
	}}
	b.container = container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1,
		Owner: container.Owner{OrganizationID: uuid.NewString(), ProjectID: uuid.NewString(), NamespaceID: uuid.NewString()},
	}
	if err := b.containers.Create(t.Context(), b.container); err != nil {
		t.Fatal(err)
	}
	b.caller = auth.Caller{OrganizationID: b.container.OrganizationID, PermissionSet: auth.FullAccess}
	return b
}

// create runs both steps of the operation.
func (b *testBundle) create(region, body string) (trigger.Trigger, error) {
	b.t.Helper()
	request := httpapi.Request{Region: region, Body: []byte(body)}
	d, err := b.read(b.t.Context(), request)
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := b.do(b.t.Context(), b.caller, request, d)
	created, _ := answer.(trigger.Trigger)
	return created, err
}

func (b *testBundle) body(config string) string {
	return fmt.Sprintf(`{"name":"n","container_id":%q,%s}`, b.container.ID, config)
}

func TestTriggerBelongsToWhomItsContainerDoes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created, err := b.create("fr-par", b.body(`"cron_config":{"schedule":"@daily"}`))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := b.triggers.Get(t.Context(), created.ID)
	if err != nil || stored.Owner != b.container.Owner || stored.Status != trigger.Creating || stored.Region != "fr-par" {
		t.Errorf("got %+v, %v", stored, err)
	}
}

func TestSecretIsStoredSealedForItsTrigger(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created, err := b.create("fr-par", b.body(`"sqs_config":{"endpoint":"https://e","access_key_id":"a","secret_access_key":"hush","queue_url":"https://q"}`))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := b.triggers.Get(t.Context(), created.ID)
	if err != nil || len(stored.SealedSecret) == 0 || bytes.Contains(stored.SealedSecret, []byte("hush")) {
		t.Fatalf("got %v", err)
	}
	if text, err := b.sealer.Open(t.Context(), trigger.Resource, created.ID, stored.SealedSecret); err != nil || text != "hush" {
		t.Errorf("it does not open: %v", err)
	}
}

func TestWhoMayNotCreateIsNotToldOfFaults(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.caller.PermissionSet = auth.ReadOnly
	if _, err := b.create("fr-par", `{`); fault.As(err).Type != fault.TypePermissionsDenied {
		t.Errorf("got %v", err)
	}
}

func TestContainerMustBeThereForTheCallerAndStay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	valid := b.body(`"cron_config":{"schedule":"@daily"}`)
	expect := func(name, region, body string, want fault.Type) {
		t.Helper()
		if _, err := b.create(region, body); fault.As(err).Type != want || fault.As(err).Resource != container.Resource {
			t.Errorf("%s: got %v", name, err)
		}
	}
	expect("in another region", "nl-ams", valid, fault.TypeNotFound)
	expect("unknown", "fr-par", fmt.Sprintf(`{"name":"n","container_id":%q,"cron_config":{"schedule":"@daily"}}`, uuid.NewString()), fault.TypeNotFound)
	caller := b.caller
	b.caller.ProjectIDs = []string{uuid.NewString()}
	expect("of another project", "fr-par", valid, fault.TypeNotFound)
	b.caller.OrganizationID, b.caller.ProjectIDs = uuid.NewString(), nil
	expect("of another organization", "fr-par", valid, fault.TypeNotFound)
	b.caller = caller
	if _, err := b.containers.MarkDeleting(t.Context(), b.container.ID); err != nil {
		t.Fatal(err)
	}
	expect("being deleted", "fr-par", valid, fault.TypeTransientState)
}

func TestQuotasAreToldWithWhatThereIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.room.quotas = quotas{PerContainer: 2, PerOrganization: 3, APIRate: 1, APIBurst: 5}
	expect := func(want ...fault.Quota) {
		t.Helper()
		_, err := b.create("fr-par", b.body(`"cron_config":{"schedule":"@daily"}`))
		if len(want) == 0 {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		told := fault.As(err)
		if got, ok := told.Details.([]fault.Quota); told.Type != fault.TypeQuotasExceeded || told.Status != 403 || !ok || !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v", told, want)
		}
	}
	perContainer := fault.Quota{Resource: "triggers_per_container", Quota: 2, Current: 2}
	perOrganization := fault.Quota{Resource: "triggers_per_organization", Quota: 3, Current: 3}
	expect()
	expect()
	expect(perContainer)
	full := b.container.ID
	b.container.ID = uuid.NewString()
	if err := b.containers.Create(t.Context(), b.container); err != nil {
		t.Fatal(err)
	}
	expect()
	expect(perOrganization)
	b.container.ID = full
	expect(perContainer, perOrganization)
	b.container.ID, b.container.OrganizationID = uuid.NewString(), uuid.NewString()
	b.caller.OrganizationID = b.container.OrganizationID
	if err := b.containers.Create(t.Context(), b.container); err != nil {
		t.Fatal(err)
	}
	expect() // another organization's quota is its own
}

// What was counted counts until the API can have let through enough to fill the room.
func TestRoomIsCountedAnewBeforeItCanBeFull(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newRoom(quotas{APIRate: 10, APIBurst: 20}, table.Triggers{}, func() time.Time { return now })
	there, counted := 0, 0
	look := func(name string) int {
		t.Helper()
		counted = 0
		n, err := r.count(name, 100, func(most int) (int, error) {
			counted++
			return min(there, most), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, step := range []struct {
		name  string
		there int
		after time.Duration
		count bool
	}{
		{"a", 0, 0, true}, // (100 - 0 - 20) / 10 = 8 s
		{"b", 0, 0, true},
		{"a", 99, 8*time.Second - 1, false},
		{"a", 79, 1, true}, // 100 ms
		{"a", 80, 100*time.Millisecond - 1, false},
		{"a", 80, 1, true}, // a burst could fill it
		{"a", 99, 0, true},
		{"a", 100, 0, true},
		{"a", 98, 0, true}, // as soon as there is room, it is seen
	} {
		now, there = now.Add(step.after), step.there
		n := look(step.name)
		if (counted == 1) != step.count || step.count && n != there {
			t.Errorf("%+v: counted %d times, is %d", step, counted, n)
		}
	}
	now = now.Add(time.Minute)
	fails := errors.New("throttled")
	if _, err := r.count("a", 100, func(int) (int, error) { return 0, fails }); !errors.Is(err, fails) {
		t.Errorf("a failed count: %v", err)
	}
	if look("a"); counted != 1 {
		t.Error("a failed count is kept")
	}
}
