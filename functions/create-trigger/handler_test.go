package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

type testBundle struct {
	function
	t         *testing.T
	container container.Container
	caller    auth.Principal
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	env, cfg := mototest.Environment(t, "create-trigger"), mototest.Config(t)
	db := dynamodb.NewFromConfig(cfg)
	triggers := store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"], Counts: store.Counts{Client: db, Table: env["COUNTS_TABLE"]}}
	b := &testBundle{t: t, function: function{
		triggers:   triggers,
		containers: store.Containers{Client: db, Table: env["CONTAINERS_TABLE"]},
		sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: env["KMS_KEY_ID"]},
		newID:      uuid.NewString, now: time.Now,
	}}
	b.container = container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1,
		Owner: auth.Owner{OrganizationID: uuid.NewString(), ProjectID: uuid.NewString(), NamespaceID: uuid.NewString()},
	}
	if err := b.containers.Create(t.Context(), b.container); err != nil {
		t.Fatal(err)
	}
	b.caller = auth.Principal{OrganizationID: b.container.OrganizationID, PermissionSet: auth.FullAccess}
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

func TestCreate_GivesTheTriggerTheOwnerOfItsContainer(t *testing.T) {
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

func TestCreate_StoresTheSecretSealedForItsTrigger(t *testing.T) {
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

func TestCreate_ReadOnlyKeyGetsPermissionDenied(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.caller.PermissionSet = auth.ReadOnly
	if _, err := b.create("fr-par", `{`); apierr.From(err).Type != apierr.TypePermissionsDenied {
		t.Errorf("got %v", err)
	}
}

func TestCreate_RefusesANATSTriggerForCallsThatTheRelayCannotMake(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.container.ID, b.container.Timeout = uuid.NewString(), container.MaxRelayTimeout+time.Second
	if err := b.containers.Create(t.Context(), b.container); err != nil {
		t.Fatal(err)
	}
	_, err := b.create("fr-par", b.body(`"nats_config":{"server_urls":["nats://s"],"subject":"s"}`))
	if refused := apierr.From(err); refused.Type != apierr.TypeInvalidArguments || !strings.Contains(fmt.Sprint(refused.Details), "container_id") {
		t.Errorf("got %+v", refused)
	}
	if _, err := b.create("fr-par", b.body(`"cron_config":{"schedule":"@daily"}`)); err != nil {
		t.Errorf("a cron trigger: %v", err)
	}
}

func TestCreate_NeedsAContainerThatTheCallerMayRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	valid := b.body(`"cron_config":{"schedule":"@daily"}`)
	expect := func(name, region, body string, want apierr.Type) {
		t.Helper()
		if _, err := b.create(region, body); apierr.From(err).Type != want || apierr.From(err).Resource != container.Resource {
			t.Errorf("%s: got %v", name, err)
		}
	}
	expect("in another region", "nl-ams", valid, apierr.TypeNotFound)
	expect("unknown", "fr-par", fmt.Sprintf(`{"name":"n","container_id":%q,"cron_config":{"schedule":"@daily"}}`, uuid.NewString()), apierr.TypeNotFound)
	caller := b.caller
	b.caller.ProjectIDs = []string{uuid.NewString()}
	expect("of another project", "fr-par", valid, apierr.TypeNotFound)
	b.caller.OrganizationID, b.caller.ProjectIDs = uuid.NewString(), nil
	expect("of another organization", "fr-par", valid, apierr.TypeNotFound)
	b.caller = caller
	if _, err := b.containers.MarkDeleting(t.Context(), b.container.ID); err != nil {
		t.Fatal(err)
	}
	expect("being deleted", "fr-par", valid, apierr.TypeTransientState)
}
