package namespace_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/namespace"
)

const id = "3b1f0c5e-2d4a-4c6b-8e7f-9a0b1c2d3e4f"

var born = time.Date(2026, 5, 5, 14, 42, 51, 232279000, time.UTC)

func seal(value secret.Text) ([]byte, error) { return []byte("sealed " + value), nil }

// update returns the namespace after an update and its sealing, as in update-namespace.
func update(t *testing.T, n namespace.Namespace, body string) namespace.Namespace {
	t.Helper()
	updated, secrets, err := n.Update([]byte(body), born)
	if err != nil {
		t.Fatal(err)
	}
	if updated, err = updated.Seal(secrets, seal); err != nil {
		t.Fatal(err)
	}
	return updated
}

// create returns a sealed namespace, as create-namespace stores it.
func create(t *testing.T, body string) namespace.Namespace {
	t.Helper()
	created, secrets, err := namespace.Create([]byte(body), id, "fr-par", born)
	if err != nil {
		t.Fatal(err)
	}
	if created, err = created.Seal(secrets, seal); err != nil {
		t.Fatal(err)
	}
	return created
}

func TestNamespace_MarshalsLikeTheAPI(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(create(t, `{"name":"jobs","description":"d","tags":["a"],"environment_variables":{"A":"<b>"},
		"secret_environment_variables":{"S":"hush"},"project_id":"`+strings.ToUpper(id)+`"}`).Answered("api.example", time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"id":"` + id + `"`, `"name":"jobs"`, `"status":"ready"`, `"error_message":null`, `"tags":["a"]`, `"region":"fr-par"`,
		`"srn":"srn://containers.api.example/regions/fr-par/namespaces/` + id + `"`, `"project_id":"` + id + `"`, `"organization_id":""`, `"created_at":"2026-05-05T14:42:51.232279Z"`, `"secret_environment_variables":{"S":"$argon2id$`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	if strings.Contains(string(text), "hush") || strings.Contains(string(text), "sealed") {
		t.Errorf("the secret is in %s", text)
	}
	if text, err = json.Marshal(create(t, `{"name":"n","tags":null,"environment_variables":null,"secret_environment_variables":null}`)); err != nil || !strings.Contains(string(text), `"environment_variables":{},"secret_environment_variables":{},"tags":[]`) {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestCreate_NamesEveryFault(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{}`:                                 "name: required",
		`{"name":""}`:                        "name: required",
		`{"name":"a\nb"}`:                    "name: constraint",
		`{"name":"n","project_id":"p"}`:      "project_id: format",
		`{"name":"n","organization_id":"o"}`: "organization_id: format",
		`{"name":"n","tags":"a"}`:            "tags: format",
		`{"name":"n","description":1}`:       "description: format",
		`{"name":"n","environment_variables":{"A":null}}`:                                "environment_variables: format",
		`{"name":"n","secret_environment_variables":{"":"v"}}`:                           "secret_environment_variables: constraint",
		`{"name":1,"tags":1,"environment_variables":1,"secret_environment_variables":1}`: "name: format; tags: format; environment_variables: format; secret_environment_variables: format",
	} {
		_, _, err := namespace.Create([]byte(body), id, "fr-par", born)
		if err == nil {
			t.Errorf("%s: no fault", body)
			continue
		}
		var got []string
		for _, detail := range apierr.From(err).Details.([]apierr.Argument) {
			got = append(got, detail.Name+": "+string(detail.Reason))
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%s: got %v, want %s", body, got, want)
		}
	}
}

func TestUpdate_ChangesTheNamedFieldsOnly(t *testing.T) {
	t.Parallel()
	before := create(t, `{"name":"n","description":"d","tags":["a"],"environment_variables":{"A":"a"},"secret_environment_variables":{"S":"s"}}`)
	for _, body := range []string{
		`{}`, `{"name":null,"description":null,"tags":null,"environment_variables":null,"secret_environment_variables":null}`,
		`{"name":"n","tags":["a"],"environment_variables":{"A":"a"},"secret_environment_variables":{"S":""},"project_id":""}`,
		`{"secret_environment_variables":{"S":""}}`, `{"status":"error","unknown":1}`,
	} {
		if after := update(t, before, body); after.Generation != 1 || !after.UpdatedAt.Equal(born) {
			t.Errorf("%s: got %+v", body, after)
		}
	}
	fields := func(n namespace.Namespace) map[string]any {
		text, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		var answer map[string]any
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	for field, body := range map[string]string{
		"name": `{"name":"m"}`, "description": `{"description":""}`, "tags": `{"tags":[]}`,
		"environment_variables": `{"environment_variables":{}}`, "secret_environment_variables": `{"secret_environment_variables":{"T":"t"}}`,
	} {
		after := update(t, before, body)
		if after.Generation != 2 || !after.UpdatedAt.After(born) {
			t.Errorf("%s: got %+v", body, after)
		}
		was, is := fields(before), fields(after)
		for name := range was {
			old, _ := json.Marshal(was[name])
			now, _ := json.Marshal(is[name])
			if changed := string(old) != string(now); changed != (name == field || name == "updated_at") {
				t.Errorf("%s: %s became %s from %s", body, name, now, old)
			}
		}
	}
	for _, body := range []string{`{"project_id":"` + id + `"}`, `{"organization_id":"` + id + `"}`} {
		if _, _, err := before.Update([]byte(body), born); apierr.From(err).Type != apierr.TypeInvalidArguments {
			t.Errorf("%s: got %v", body, err)
		}
	}
	before.Status = container.Deleting
	if _, _, err := before.Update([]byte(`{}`), born); apierr.From(err).Type != apierr.TypeTransientState {
		t.Errorf("while being deleted: %v", err)
	}
}
