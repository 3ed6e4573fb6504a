package main

import (
	"errors"
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
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/namespace"
)

func newFunction(t *testing.T) function {
	t.Helper()
	env, cfg := mototest.Environment(t, "create-container"), mototest.Config(t)
	return function{
		containers: store.Containers{Client: dynamodb.NewFromConfig(cfg), Table: env["CONTAINERS_TABLE"]},
		namespaces: store.Namespaces{Client: dynamodb.NewFromConfig(cfg), Table: env["NAMESPACES_TABLE"]},
		sealer:     seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: env["KMS_KEY_ID"]},
		newID:      uuid.NewString, now: time.Now,
	}
}

func TestCreate_DefaultsToTheCallersProject(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	own, other := uuid.NewString(), uuid.NewString()
	caller := auth.Principal{
		OrganizationID: uuid.NewString(), ProjectIDs: []string{own, other}, DefaultProjectID: own, PermissionSet: auth.FullAccess,
	}
	create := func(caller auth.Principal, fields string) (container.Container, error) {
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
		if _, err := create(caller, fields); apierr.From(err).Type != apierr.TypePermissionsDenied {
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
	created, err = create(caller, `,"privacy":"private","secret_environment_variables":{"S":"of-s","INVOKE_TOKEN":"hush"}`)
	if err != nil {
		t.Fatal(err)
	}
	for want, sealed := range map[secret.Text][]byte{"hush": created.SealedToken, "of-s": created.Variables["S"].Sealed} {
		if text, err := f.sealer.Open(t.Context(), container.Resource, created.ID, sealed); err != nil || text != want {
			t.Errorf("a secret environment variable does not open: %v", err)
		}
	}
	caller.PermissionSet = auth.ReadOnly
	if _, err := create(caller, `,"timeout":"x"`); apierr.From(err).Type != apierr.TypePermissionsDenied {
		t.Errorf("a read-only key: got %v", err)
	}
}

func TestCreate_PutsTheContainerIntoANamespaceThatTheCallerMayUse(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	own, other := uuid.NewString(), uuid.NewString()
	caller := auth.Principal{
		OrganizationID: uuid.NewString(), ProjectIDs: []string{own, other}, DefaultProjectID: own, PermissionSet: auth.FullAccess,
	}
	namespaceOf := func(organization, project, region string) string {
		ns, _, err := namespace.Create([]byte(`{"name":"n"}`), uuid.NewString(), region, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		ns.Owner = auth.Owner{OrganizationID: organization, ProjectID: project}
		if err := f.namespaces.Create(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
		return ns.ID
	}
	inOther, deleting, gone := namespaceOf(caller.OrganizationID, other, "fr-par"), namespaceOf(caller.OrganizationID, own, "fr-par"), namespaceOf(caller.OrganizationID, own, "fr-par")
	if _, err := f.namespaces.MarkDeleting(t.Context(), deleting); err != nil {
		t.Fatal(err)
	}
	readOnly := caller
	readOnly.PermissionSet = auth.ReadOnly
	for name, test := range map[string]struct {
		caller    auth.Principal
		namespace string
		fields    string
		want      string // the fault's type and resource, or its arguments
	}{
		"its project":            {caller, inOther, ``, ""},
		"its project, named":     {caller, inOther, `,"project_id":"` + other + `","organization_id":"` + caller.OrganizationID + `"`, ""},
		"another project":        {caller, inOther, `,"project_id":"` + own + `","organization_id":"` + own + `"`, "invalid_arguments organization_id project_id"},
		"unknown":                {caller, uuid.NewString(), ``, "not_found namespace"},
		"another organization's": {caller, namespaceOf(uuid.NewString(), own, "fr-par"), ``, "not_found namespace"},
		"of an unreadable one":   {caller, namespaceOf(caller.OrganizationID, uuid.NewString(), "fr-par"), ``, "not_found namespace"},
		"another region's":       {caller, namespaceOf(caller.OrganizationID, own, "nl-ams"), ``, "not_found namespace"},
		"being deleted":          {caller, deleting, ``, "transient_state namespace"},
		"read-only":              {readOnly, inOther, ``, "permissions_denied"},
		"malformed":              {caller, "n", ``, "invalid_arguments namespace_id"},
	} {
		request := httpapi.Request{Region: "fr-par", Body: []byte(`{"name":"n","public_endpoint":"https://e.example","namespace_id":"` + test.namespace + `"` + test.fields + `}`)}
		d, err := f.read(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := f.do(t.Context(), test.caller, request, d)
		if test.want != "" {
			told := apierr.From(err)
			got := strings.TrimSuffix(string(told.Type)+" "+told.Resource, " ")
			if arguments, ok := told.Details.([]apierr.Argument); ok {
				for _, argument := range arguments {
					got += " " + argument.Name
				}
			}
			if got != test.want {
				t.Errorf("%s: got %s, want %s", name, got, test.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if created, err := f.containers.Get(t.Context(), answer.(container.Container).ID); err != nil || created.ProjectID != other || created.NamespaceID != inOther {
			t.Errorf("%s: got %+v, %v", name, created.Owner, err)
		}
	}

	// The namespace is deleted between the read and the write.
	request := httpapi.Request{Region: "fr-par", Body: []byte(`{"name":"n","public_endpoint":"https://e.example","namespace_id":"` + gone + `"}`)}
	d, err := f.read(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.namespaces.MarkDeleting(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if _, err := f.do(t.Context(), caller, request, d); apierr.From(err).Resource != namespace.Resource {
		t.Errorf("in one that was just deleted: got %v", err)
	}
	if _, err := f.containers.Get(t.Context(), d.container.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a container was made in it: %v", err)
	}
}
