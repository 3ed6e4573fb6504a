package main

import (
	"bytes"
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
	b := &testBundle{t: t, function: function{
		triggers:   table.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]},
		containers: table.Containers{Client: db, Table: env["CONTAINERS_TABLE"]},
		sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: env["KMS_KEY_ID"]},
		quotas:     quotas{PerContainer: 100, PerOrganization: 100},
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
	b.quotas = quotas{PerContainer: 2, PerOrganization: 3}
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
