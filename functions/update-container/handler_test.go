package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

func TestChange_RefusesATimeoutThatTheRelayCannotWaitFor(t *testing.T) {
	t.Parallel()
	env, db := mototest.Environment(t, "update-container"), dynamodb.NewFromConfig(mototest.Config(t))
	f := function{triggers: store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]}, now: time.Now}
	containers := store.Containers{Client: db, Table: env["CONTAINERS_TABLE"]}
	of := container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1, Timeout: time.Minute,
		Owner: auth.Owner{OrganizationID: uuid.NewString(), ProjectID: uuid.NewString()},
	}
	if err := containers.Create(t.Context(), of); err != nil {
		t.Fatal(err)
	}
	create := func(config string) {
		t.Helper()
		created, _, err := trigger.Create(fmt.Appendf(nil, `{"name":"n","container_id":%q,%s}`, of.ID, config), uuid.NewString(), "fr-par", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		created.Owner = of.Owner
		if err := f.triggers.Create(t.Context(), containers, created); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string, old container.Container, body string, refused bool) {
		t.Helper()
		_, err := f.change(t.Context(), old, []byte(body))
		if !refused && err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if fault := apierr.From(err); refused && (fault.Type != apierr.TypeInvalidArguments || !strings.Contains(fmt.Sprint(fault.Details), "timeout")) {
			t.Errorf("%s: got %+v", what, fault)
		}
	}
	create(`"cron_config":{"schedule":"@daily"}`)
	expect("with a cron trigger", of, `{"timeout":"601s"}`, false)
	create(`"nats_config":{"server_urls":["nats://s"],"subject":"s"}`)
	expect("with a NATS trigger", of, `{"timeout":"601s"}`, true)
	expect("short enough", of, `{"timeout":"600s"}`, false)
	before := of
	before.Timeout = container.MaxTimeout // from before the limit
	expect("another field", before, `{"name":"other"}`, false)
}
