package container_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/container"
)

const id = "9001700a-da3d-4d72-8ed0-53eb40ec2216"

var born = time.Date(2026, 5, 5, 14, 42, 51, 232279000, time.UTC)

func create(t *testing.T, body string) container.Container {
	t.Helper()
	created, _, err := container.Create([]byte(body), id, "fr-par", container.Rules{}, born)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

// seals caches the sealed containers by body, because hashing is slow on purpose.
var seals sync.Map

// seal creates a container whose secrets are "sealed" and the value.
func seal(t *testing.T, body string) container.Container {
	t.Helper()
	if known, ok := seals.Load(body); ok {
		return known.(container.Container)
	}
	created, secrets, err := container.Create([]byte(body), id, "fr-par", container.Rules{}, born)
	if err != nil {
		t.Fatal(err)
	}
	created, err = secrets.Seal(created, sealing)
	if err != nil {
		t.Fatal(err)
	}
	seals.Store(body, created)
	return created
}

func sealing(text secret.Text) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	return []byte("sealed " + string(text)), nil
}

func TestContainer_MarshalsInTheFormOfTheAPI(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(create(t, `{"name":"n","public_endpoint":"https://e.example/app","timeout":"1.500000000s","privacy":"private","invoke_token":"hush","project_id":"`+strings.ToUpper(id)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"id":"` + id + `"`, `"status":"ready"`, `"privacy":"private"`, `"timeout":"1.5s"`, `"tags":[]`, `"region":"fr-par"`,
		`"project_id":"` + id + `"`, `"public_endpoint":"https://e.example/app"`, `"created_at":"2026-05-05T14:42:51.232279Z"`,
		`"environment_variables":{}`, `"secret_environment_variables":{}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	if strings.Contains(string(text), "hush") {
		t.Errorf("the token is in %s", text)
	}
}

func TestRequiredFaults_NameTheirField(t *testing.T) {
	t.Parallel()
	sealed := seal(t, `{"name":"n","public_endpoint":"https://e","privacy":"private","invoke_token":"hush"}`)
	_, _, created := container.Create([]byte(`{}`), id, "fr-par", container.Rules{}, born)
	_, _, updated := sealed.Update([]byte(`{"public_endpoint":"https://other.example"}`), container.Rules{}, born)
	for err, count := range map[error]int{created: 2, updated: 1} {
		details := apierr.From(err).Details.([]apierr.Argument)
		if len(details) != count {
			t.Errorf("got %+v, want %d faults", details, count)
		}
		for _, d := range details {
			if d.Reason != apierr.Required || !strings.HasPrefix(d.Help, d.Name+" ") {
				t.Errorf("got %+v", d)
			}
		}
	}
}

func TestCreate_NamesEveryFault(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"public_endpoint":"https://e"}`:                            "name: required",
		`{"name":"n","image":""}`:                                    "public_endpoint: required",
		`{"name":"n","image":"nginx:latest"}`:                        "image: format",
		`{"name":"n","image":"rg.fr-par.scw.cloud/ns/i:tag"}`:        "image: format",
		`{"name":"n","image":"http://e"}`:                            "image: format",
		`{"name":"n","image":"https://u:p@e"}`:                       "image: constraint",
		`{"name":"n","image":"https://e?q=1"}`:                       "image: constraint",
		`{"name":"n","image":"https://e#f"}`:                         "image: constraint",
		`{"name":"n","image":"nginx","public_endpoint":"https://e"}`: "image: format",
		`{"name":"n"}`: "public_endpoint: required",
		`{"name":"n","public_endpoint":"http://e"}`:                                "public_endpoint: format",
		`{"name":"n","public_endpoint":"e.example"}`:                               "public_endpoint: format",
		`{"name":"n","public_endpoint":"https://u:p@e"}`:                           "public_endpoint: constraint",
		`{"name":"n","public_endpoint":"https://e:65536"}`:                         "public_endpoint: format",
		`{"name":"n","public_endpoint":"https://e:"}`:                              "public_endpoint: format",
		`{"name":"n","public_endpoint":"https://e?q=1"}`:                           "public_endpoint: constraint",
		`{"name":"n","public_endpoint":"https://e#f"}`:                             "public_endpoint: constraint",
		`{"name":"n","public_endpoint":"https://e","privacy":"secret"}`:            "privacy: constraint",
		`{"name":"n","public_endpoint":"https://e","timeout":"5m"}`:                "timeout: format",
		`{"name":"n","public_endpoint":"https://e","timeout":"1e2s"}`:              "timeout: format",
		`{"name":"n","public_endpoint":"https://e","timeout":300}`:                 "timeout: format",
		`{"name":"n","public_endpoint":"https://e","timeout":"0.5s"}`:              "timeout: constraint",
		`{"name":"n","public_endpoint":"https://e","timeout":"841s"}`:              "timeout: constraint",
		`{"name":"n","public_endpoint":"https://e","project_id":"p"}`:              "project_id: format",
		`{"name":"n","public_endpoint":"https://e","invoke_token":"a b"}`:          "invoke_token: format",
		`{"name":"n","public_endpoint":"https://e","tags":"a","description":null}`: "tags: format",
	} {
		_, _, err := container.Create([]byte(body), id, "fr-par", container.Rules{}, born)
		told, ok := errors.AsType[*apierr.Error](err)
		if !ok {
			t.Errorf("%s: got %v", body, err)
			continue
		}
		details := told.Details.([]apierr.Argument)
		if got := details[0].Name + ": " + string(details[0].Reason); len(details) != 1 || got != want {
			t.Errorf("%s: got %v, want %s", body, details, want)
		}
	}
	if _, _, err := container.Create([]byte(`{"name":"n","public_endpoint":"http://e"}`), id, "fr-par", container.Rules{AllowHTTP: true}, born); err != nil {
		t.Errorf("http where it is allowed: %v", err)
	}
}

func TestUpdate_ChangesTheFieldsThatTheBodyNames(t *testing.T) {
	t.Parallel()
	before := create(t, `{"name":"n","public_endpoint":"https://e"}`)
	for _, body := range []string{`{}`, `{"name":null,"tags":null}`, `{"name":"n","timeout":"300s","privacy":"unknown_privacy"}`} {
		if after, _, err := before.Update([]byte(body), container.Rules{}, born); err != nil || after.Generation != 1 {
			t.Errorf("%s: got %+v, %v", body, after, err)
		}
	}
	after, secrets, err := before.Update([]byte(`{"timeout":"60s","invoke_token":""}`), container.Rules{}, born)
	if err != nil || secrets.Token == nil || after.Generation != 2 || after.Timeout != time.Minute || !after.UpdatedAt.After(before.UpdatedAt) || after.Name != "n" {
		t.Errorf("got %+v, %v", after, err)
	}
	if _, _, err := before.Update([]byte(`{"project_id":"`+id+`"}`), container.Rules{}, born); err == nil {
		t.Error("a container changes its project")
	}
	before.Status = container.Deleting
	if _, _, err := before.Update([]byte(`{}`), container.Rules{}, born); apierr.From(err).Type != apierr.TypeTransientState {
		t.Errorf("while being deleted: %v", err)
	}
}

func TestUpdate_KeepsTheTokenOnItsHost(t *testing.T) {
	t.Parallel()
	for registered, before := range map[string]container.Container{
		"by public_endpoint": seal(t, `{"name":"n","public_endpoint":"https://e.example/a","privacy":"private","invoke_token":"hush"}`),
		"by image":           seal(t, `{"name":"n","image":"https://e.example/a","privacy":"private","secret_environment_variables":{"INVOKE_TOKEN":"hush"}}`),
	} {
		for body, allowed := range map[string]bool{
			`{"public_endpoint":"https://E.example/b"}`:                                                             true,
			`{"public_endpoint":"https://e.example:8443/a"}`:                                                        false,
			`{"public_endpoint":"https://f.example/a"}`:                                                             false,
			`{"public_endpoint":"https://f.example/a","invoke_token":"of-the-other"}`:                               true,
			`{"public_endpoint":"https://f.example/a","invoke_token":""}`:                                           true,
			`{"public_endpoint":"http://e.example/a","invoke_token":null}`:                                          false,
			`{"image":"https://e.example/b"}`:                                                                       true,
			`{"image":"https://f.example/a"}`:                                                                       false,
			`{"image":"https://f.example/a","public_endpoint":"https://e.example/a"}`:                               true,
			`{"image":"https://e.example/a","public_endpoint":"https://f.example/a"}`:                               false,
			`{"image":"https://f.example/a","secret_environment_variables":{"INVOKE_TOKEN":"of-the-other"}}`:        true,
			`{"image":"https://f.example/a","secret_environment_variables":{"OTHER":"x","INVOKE_TOKEN":"y"}}`:       true,
			`{"image":"https://f.example/a","invoke_token":"z","secret_environment_variables":{"INVOKE_TOKEN":""}}`: true,
		} {
			_, _, err := before.Update([]byte(body), container.Rules{AllowHTTP: true}, born)
			if allowed != (err == nil) || err != nil && apierr.From(err).Type != apierr.TypeInvalidArguments {
				t.Errorf("%s: %s: got %v", registered, body, err)
			}
		}
		before.SealedToken = nil
		if _, _, err := before.Update([]byte(`{"public_endpoint":"https://f.example/a"}`), container.Rules{}, born); err != nil {
			t.Errorf("%s: without a token: %v", registered, err)
		}
	}
	// If the body keeps the variable by "" or by its hash, it does not give the token again.
	before := seal(t, `{"name":"n","image":"https://e.example/a","secret_environment_variables":{"INVOKE_TOKEN":"hush"}}`)
	for _, kept := range []string{"", before.Variables[container.TokenVariable].Hash} {
		body := `{"image":"https://f.example/a","secret_environment_variables":{"INVOKE_TOKEN":"` + kept + `"}}`
		if _, _, err := before.Update([]byte(body), container.Rules{}, born); err == nil {
			t.Errorf("%s: the token follows its container to another host", body)
		}
	}
}

func TestContainer_RunsAtItsImageOrItsPublicEndpoint(t *testing.T) {
	t.Parallel()
	before := create(t, `{"name":"n","image":"https://e.example/app"}`)
	if before.PublicEndpoint != "https://e.example/app" || before.Spec.Image != before.PublicEndpoint {
		t.Errorf("created by image: got %q, image %q", before.PublicEndpoint, before.Spec.Image)
	}
	if both := create(t, `{"name":"n","image":"https://i.example","public_endpoint":"https://e.example"}`); both.PublicEndpoint != "https://e.example" || both.Spec.Image != "https://i.example" {
		t.Errorf("created by both: got %q, image %q", both.PublicEndpoint, both.Spec.Image)
	}
	for body, want := range map[string]string{
		`{"image":"https://f.example"}`:                                       "https://f.example",
		`{"public_endpoint":"https://f.example"}`:                             "https://f.example",
		`{"image":"https://g.example","public_endpoint":"https://f.example"}`: "https://f.example",
		`{"image":""}`:   "https://e.example/app",
		`{"image":null}`: "https://e.example/app",
	} {
		after, _, err := before.Update([]byte(body), container.Rules{}, born)
		if err != nil || after.PublicEndpoint != want {
			t.Errorf("%s: got %q, %v", body, after.PublicEndpoint, err)
		}
	}
}
