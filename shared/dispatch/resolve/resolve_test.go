package resolve_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

// A target that is read anew sends the token of its container as it is now,
// whatever the last one had.
func TestResolve_ReturnsTheCurrentTokenOfTheContainer(t *testing.T) {
	t.Parallel()
	env, cfg := mototest.Environment(t, "relay"), mototest.Config(t)
	db := dynamodb.NewFromConfig(cfg)
	f := resolve.Resolver{
		Triggers: store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]}, Containers: store.Containers{Client: db, Table: env["CONTAINERS_TABLE"]},
		Sealer: seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: env["KMS_KEY_ID"]}, Now: time.Now,
	}
	got := ""
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("X-Auth-Token") }))
	t.Cleanup(server.Close)
	first, second := uuid.NewString(), uuid.NewString()
	on := container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1,
		PublicEndpoint: server.URL, Privacy: container.Public, Timeout: time.Minute,
	}
	sealed := func(token string) []byte {
		text, err := f.Sealer.Seal(t.Context(), container.Resource, on.ID, secret.Text(token))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	on.SealedToken = sealed(first)
	if err := f.Containers.Create(t.Context(), on); err != nil {
		t.Fatal(err)
	}
	tr, _, err := trigger.Create([]byte(`{"name":"n","container_id":"`+on.ID+`","cron_config":{"schedule":"@daily"}}`), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Triggers.Create(t.Context(), f.Containers, tr); err != nil {
		t.Fatal(err)
	}
	caller := invoke.New(invoke.Settings{AllowPrivate: true})
	f.Tokens = &resolve.Tokens{}
	for _, step := range []struct {
		privacy container.Privacy
		sealed  []byte
		want    string
	}{
		{container.Public, on.SealedToken, ""}, {container.Private, on.SealedToken, first}, {container.Private, on.SealedToken, first},
		{container.Private, sealed(second), second}, {container.Public, nil, ""}, {container.Private, nil, ""},
	} {
		changed := on
		changed.Privacy, changed.SealedToken, changed.Generation = step.privacy, step.sealed, on.Generation+1
		if _, err := f.Containers.Update(t.Context(), on, changed); err != nil {
			t.Fatal(err)
		}
		on = changed
		to, err := f.Resolve(t.Context(), tr.ID, on.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := to.Call(t.Context(), caller, invoke.Event{ID: "e", Type: "t", Time: time.Now()}); err != nil || got != step.want {
			t.Errorf("%s: the container got the token %q, %v", step.privacy, got, err)
		}
	}
}
