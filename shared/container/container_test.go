package container_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"containertriggers/shared/container"
	"containertriggers/shared/fault"
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

func TestContainerIsAnsweredInTheShapeOfTheAPI(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(create(t, `{"name":"n","public_endpoint":"https://e.example/app","timeout":"1.500000000s","privacy":"private","invoke_token":"hush","project_id":"`+strings.ToUpper(id)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"id":"` + id + `"`, `"status":"ready"`, `"privacy":"private"`, `"timeout":"1.5s"`, `"tags":[]`, `"region":"fr-par"`,
		`"project_id":"` + id + `"`, `"public_endpoint":"https://e.example/app"`, `"created_at":"2026-05-05T14:42:51.232279Z"`,
		`"environment_variables":{}`, `"scaling_option":null`, `"protocol":"unknown_protocol"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	if strings.Contains(string(text), "hush") {
		t.Errorf("the token is in %s", text)
	}
}

func TestFaultsOfAContainerAreNamed(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"public_endpoint":"https://e"}`:                                          "name: required",
		`{"name":"n"}`:                                                             "public_endpoint: required",
		`{"name":"n","public_endpoint":"http://e"}`:                                "public_endpoint: format",
		`{"name":"n","public_endpoint":"e.example"}`:                               "public_endpoint: format",
		`{"name":"n","public_endpoint":"https://u:p@e"}`:                           "public_endpoint: constraint",
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
		told, ok := errors.AsType[*fault.Error](err)
		if !ok {
			t.Errorf("%s: got %v", body, err)
			continue
		}
		details := told.Details.([]fault.Argument)
		if got := details[0].Name + ": " + string(details[0].Reason); len(details) != 1 || got != want {
			t.Errorf("%s: got %v, want %s", body, details, want)
		}
	}
	if _, _, err := container.Create([]byte(`{"name":"n","public_endpoint":"http://e"}`), id, "fr-par", container.Rules{AllowHTTP: true}, born); err != nil {
		t.Errorf("http where it is allowed: %v", err)
	}
}

func TestUpdateOfAContainerChangesWhatItNames(t *testing.T) {
	t.Parallel()
	before := create(t, `{"name":"n","public_endpoint":"https://e"}`)
	for _, body := range []string{`{}`, `{"name":null,"tags":null}`, `{"name":"n","timeout":"300s","privacy":"unknown_privacy"}`} {
		if after, _, err := before.Update([]byte(body), container.Rules{}, born); err != nil || after.Generation != 1 {
			t.Errorf("%s: got %+v, %v", body, after, err)
		}
	}
	after, token, err := before.Update([]byte(`{"timeout":"60s","invoke_token":""}`), container.Rules{}, born)
	if err != nil || token == nil || after.Generation != 2 || after.Timeout != time.Minute || !after.UpdatedAt.After(before.UpdatedAt) || after.Name != "n" {
		t.Errorf("got %+v, %v", after, err)
	}
	if _, _, err := before.Update([]byte(`{"project_id":"`+id+`"}`), container.Rules{}, born); err == nil {
		t.Error("a container changes its project")
	}
	before.Status = container.Deleting
	if _, _, err := before.Update([]byte(`{}`), container.Rules{}, born); fault.As(err).Type != fault.TypeTransientState {
		t.Errorf("while being deleted: %v", err)
	}
}

func TestATokenDoesNotFollowItsContainerToAnotherHost(t *testing.T) {
	t.Parallel()
	before := create(t, `{"name":"n","public_endpoint":"https://e.example/a","privacy":"private","invoke_token":"hush"}`).WithSecret([]byte("sealed"))
	for body, allowed := range map[string]bool{
		`{"public_endpoint":"https://E.example/b"}`:                               true,
		`{"public_endpoint":"https://e.example:8443/a"}`:                          false,
		`{"public_endpoint":"https://f.example/a"}`:                               false,
		`{"public_endpoint":"https://f.example/a","invoke_token":"of-the-other"}`: true,
		`{"public_endpoint":"https://f.example/a","invoke_token":""}`:             true,
		`{"public_endpoint":"http://e.example/a","invoke_token":null}`:            false,
	} {
		_, _, err := before.Update([]byte(body), container.Rules{AllowHTTP: true}, born)
		if allowed != (err == nil) || err != nil && fault.As(err).Type != fault.TypeInvalidArguments {
			t.Errorf("%s: got %v", body, err)
		}
	}
	if _, _, err := before.WithSecret(nil).Update([]byte(`{"public_endpoint":"https://f.example/a"}`), container.Rules{}, born); err != nil {
		t.Errorf("without a token: %v", err)
	}
}
