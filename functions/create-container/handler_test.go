package main

import (
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
)

func TestContainerGoesToTheCallersProjectUnlessItSays(t *testing.T) {
	t.Parallel()
	env, cfg := mototest.Environment(t, "create-container"), mototest.Config(t)
	f := function{
		containers: table.Containers{Client: dynamodb.NewFromConfig(cfg), Table: env["CONTAINERS_TABLE"]},
		sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: env["KMS_KEY_ID"]},
		newID:      uuid.NewString, now: time.Now,
	}
	own, other := uuid.NewString(), uuid.NewString()
	caller := auth.Caller{
		OrganizationID: uuid.NewString(), ProjectIDs: []string{own, other}, DefaultProjectID: own, PermissionSet: auth.FullAccess,
	}
	create := func(caller auth.Caller, fields string) (container.Container, error) {
		request := httpapi.Request{Region: "fr-par", Body: []byte(`{"name":"n","public_endpoint":"https://e.example"` + fields + `}`)}
		d, err := f.read(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := f.do(t.Context(), caller, request, d)
		if err != nil {
			return container.Container{}, err
		}
		return f.containers.Get(t.Context(), answer.(container.Container).ID)
	}
	for fields, want := range map[string]string{``: own, `,"project_id":"` + other + `"`: other, `,"organization_id":"` + caller.OrganizationID + `"`: own} {
		created, err := create(caller, fields)
		if err != nil || created.ProjectID != want || created.OrganizationID != caller.OrganizationID {
			t.Errorf("%s: got %+v, %v", fields, created.Owner, err)
		}
	}
	for _, fields := range []string{`,"project_id":"` + uuid.NewString() + `"`, `,"organization_id":"` + uuid.NewString() + `"`} {
		if _, err := create(caller, fields); fault.As(err).Type != fault.TypePermissionsDenied {
			t.Errorf("%s: got %v", fields, err)
		}
	}
	created, err := create(caller, `,"privacy":"private","invoke_token":"hush"`)
	if err != nil {
		t.Fatal(err)
	}
	if token, err := f.sealer.Open(t.Context(), container.Resource, created.ID, created.SealedToken); err != nil || token != "hush" {
		t.Errorf("the token does not open: %v", err)
	}
	caller.PermissionSet = auth.ReadOnly
	if _, err := create(caller, `,"timeout":"x"`); fault.As(err).Type != fault.TypePermissionsDenied {
		t.Errorf("a read-only key: got %v", err)
	}
}
