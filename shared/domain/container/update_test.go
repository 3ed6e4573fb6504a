package container_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	sdk "github.com/scaleway/scaleway-sdk-go/api/container/v1"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/container"
)

// everything sets each field that a client may set to another value than the default.
const everything = `{
	"name":"n","image":"https://e.example/app","description":"d","tags":["t"],"timeout":"60s","privacy":"private",
	"environment_variables":{"A":"1"},"secret_environment_variables":{"S":"hush","INVOKE_TOKEN":"hush"},
	"min_scale":1,"max_scale":2,"memory_limit_bytes":128000000,"mvcpu_limit":70,"local_storage_limit_bytes":5,
	"protocol":"h2c","port":80,"https_connections_only":true,"sandbox":"v1",
	"scaling_option":{"cpu_usage_threshold":72},
	"liveness_probe":{"failure_threshold":3,"interval":"20.000000000s","timeout":"2s","http":{"path":"/live"}},
	"startup_probe":{"failure_threshold":4,"interval":"0.5s","timeout":"3s","tcp":{}},
	"private_network_id":"9001700A-da3d-4d72-8ed0-53eb40ec2216","command":["c"],"args":["a"],
	"enable_private_endpoint":true,"enable_default_public_endpoint":false}`

// flat returns the fields of an answer by their dotted paths.
func flat(t *testing.T, c container.Container) map[string]string {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var answer any
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		if object, ok := value.(map[string]any); ok && len(object) > 0 {
			for name, field := range object {
				walk(strings.TrimPrefix(path+"."+name, "."), field)
			}
			return
		}
		fields[path] = fmt.Sprint(value)
	}
	walk("", answer)
	return fields
}

// changed returns the paths at which two answers differ, but for updated_at.
func changed(before, after map[string]string) []string {
	all := maps.Clone(before)
	maps.Copy(all, after)
	maps.DeleteFunc(all, func(path, _ string) bool { return before[path] == after[path] || path == "updated_at" })
	return slices.Sorted(maps.Keys(all))
}

// sdkUpdate returns the Go SDK's body for an update without any field.
func sdkUpdate(t *testing.T) map[string]any {
	t.Helper()
	text, err := json.Marshal(sdk.UpdateContainerRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestCreate_ReturnsEveryFieldOfTheClient(t *testing.T) {
	t.Parallel()
	got := flat(t, seal(t, everything))
	for path, want := range map[string]string{
		"image": "https://e.example/app", "public_endpoint": "https://e.example/app", "privacy": "private",
		"environment_variables.A": "1", "min_scale": "1", "max_scale": "2", "memory_limit_bytes": "1.28e+08", "mvcpu_limit": "70",
		"local_storage_limit_bytes": "5", "protocol": "h2c", "port": "80", "https_connections_only": "true", "sandbox": "v1",
		"scaling_option.cpu_usage_threshold": "72",
		"liveness_probe.failure_threshold":   "3", "liveness_probe.interval": "20s", "liveness_probe.timeout": "2s", "liveness_probe.http.path": "/live",
		"startup_probe.failure_threshold": "4", "startup_probe.interval": "0.5s", "startup_probe.timeout": "3s", "startup_probe.tcp": "map[]",
		"private_network_id": id, "command": "[c]", "args": "[a]",
		"enable_private_endpoint": "true", "default_public_endpoint_enabled": "false", "private_endpoint": "<nil>",
	} {
		if got[path] != want {
			t.Errorf("%s: got %q, want %q", path, got[path], want)
		}
	}
	for _, other := range []string{"liveness_probe.tcp", "startup_probe.http.path", "scaling_option.concurrent_requests_threshold"} {
		if _, ok := got[other]; ok {
			t.Errorf("%s is answered beside the other choice", other)
		}
	}
}

func TestCreate_HasTheDefaultsOfTheOriginal(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"name":"n","image":"https://e.example"}`,
		// The Go SDK sends these bodies if the user sets only these fields.
		`{"namespace_id":"","name":"n","environment_variables":null,"secret_environment_variables":null,"privacy":"unknown_privacy","image":"https://e.example",
		  "protocol":"unknown_protocol","sandbox":"unknown_sandbox","tags":null,"command":null,"args":null}`,
	} {
		got := flat(t, create(t, body))
		for path, want := range map[string]string{
			"privacy": "public", "timeout": "300s", "min_scale": "0", "max_scale": "5", "memory_limit_bytes": "2.048e+09", "mvcpu_limit": "1000",
			"local_storage_limit_bytes": "1e+09", "protocol": "http1", "port": "8080", "https_connections_only": "false", "sandbox": "v2",
			"scaling_option.concurrent_requests_threshold": "50",
			"liveness_probe.failure_threshold":             "30", "liveness_probe.interval": "10s", "liveness_probe.timeout": "1s", "liveness_probe.tcp": "map[]",
			"startup_probe": "<nil>", "private_network_id": "<nil>", "command": "[]", "args": "[]", "tags": "[]",
			"environment_variables": "map[]", "secret_environment_variables": "map[]", "default_public_endpoint_enabled": "true",
		} {
			if got[path] != want {
				t.Errorf("%s: got %q, want %q", path, got[path], want)
			}
		}
	}
}

func TestUpdate_LeavesEveryEnumUntouchedByItsZeroValue(t *testing.T) {
	t.Parallel()
	before := seal(t, everything)
	enums := 0
	request := reflect.TypeFor[sdk.UpdateContainerRequest]()
	for i := range request.NumField() {
		field := request.Field(i)
		if _, isEnum := field.Type.MethodByName("Values"); !isEnum || field.Tag.Get("json") == "-" {
			continue
		}
		enums++
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		zero := fmt.Sprint(reflect.Zero(field.Type))
		if !strings.HasPrefix(zero, "unknown_") {
			t.Errorf("the zero value of %s is %q", name, zero)
		}
		for _, value := range []string{`"` + zero + `"`, `"unknown_later"`, `""`, `null`} {
			after, secrets, err := before.Update([]byte(`{"`+name+`":`+value+`}`), container.Rules{}, born)
			if err != nil || after.Generation != before.Generation || !reflect.DeepEqual(secrets, container.Secrets{}) {
				t.Errorf("%s: %s changes %v, %v", name, value, changed(flat(t, before), flat(t, after)), err)
			}
			fresh := create(t, `{"name":"n","image":"https://e.example","`+name+`":`+value+`}`)
			if got := changed(flat(t, create(t, `{"name":"n","image":"https://e.example"}`)), flat(t, fresh)); len(got) > 0 {
				t.Errorf("%s: %s on create is not the default: %v", name, value, got)
			}
		}
		if _, _, err := before.Update([]byte(`{"`+name+`":"other"}`), container.Rules{}, born); err == nil {
			t.Errorf("%s takes any value", name)
		}
	}
	if enums == 0 {
		t.Error("the SDK's request has no enum: the test looks for them wrongly")
	}
}

func TestUpdate_ChangesTheNamedFieldsOnly(t *testing.T) {
	t.Parallel()
	before := seal(t, everything)
	for body, want := range map[string][]string{
		`{}`:                                  {},
		`{"name":"m"}`:                        {"name"},
		`{"description":""}`:                  {"description"},
		`{"tags":[]}`:                         {"tags"},
		`{"timeout":"61.000000000s"}`:         {"timeout"},
		`{"privacy":"public"}`:                {"privacy"},
		`{"protocol":"http1"}`:                {"protocol"},
		`{"sandbox":"v2"}`:                    {"sandbox"},
		`{"image":"https://e.example/other"}`: {"image", "public_endpoint"},
		`{"image":""}`:                        {},
		`{"public_endpoint":"https://e.example/other"}`: {"public_endpoint"},
		`{"min_scale":0}`:                                        {"min_scale"},
		`{"max_scale":9}`:                                        {"max_scale"},
		`{"memory_limit_bytes":1}`:                               {"memory_limit_bytes"},
		`{"mvcpu_limit":1}`:                                      {"mvcpu_limit"},
		`{"local_storage_limit_bytes":6}`:                        {"local_storage_limit_bytes"},
		`{"port":81}`:                                            {"port"},
		`{"https_connection_only":false}`:                        {"https_connections_only"},
		`{"https_connections_only":false}`:                       {"https_connections_only"},
		`{"command":[]}`:                                         {"command"},
		`{"args":["b"]}`:                                         {"args"},
		`{"private_network_id":""}`:                              {"private_network_id"},
		`{"enable_private_endpoint":false}`:                      {"enable_private_endpoint"},
		`{"enable_default_public_endpoint":true}`:                {"default_public_endpoint_enabled"},
		`{"environment_variables":{"A":"1","B":"2"}}`:            {"environment_variables.B"},
		`{"environment_variables":{}}`:                           {"environment_variables", "environment_variables.A"},
		`{"secret_environment_variables":{"INVOKE_TOKEN":""}}`:   {"secret_environment_variables.S"},
		`{"scaling_option":{}}`:                                  {},
		`{"scaling_option":{"cpu_usage_threshold":null}}`:        {},
		`{"scaling_option":{"cpu_usage_threshold":73}}`:          {"scaling_option.cpu_usage_threshold"},
		`{"scaling_option":{"memory_usage_threshold":66}}`:       {"scaling_option.cpu_usage_threshold", "scaling_option.memory_usage_threshold"},
		`{"liveness_probe":{}}`:                                  {},
		`{"liveness_probe":{"failure_threshold":0,"tcp":null}}`:  {},
		`{"liveness_probe":{"failure_threshold":9}}`:             {"liveness_probe.failure_threshold"},
		`{"liveness_probe":{"interval":"9s"}}`:                   {"liveness_probe.interval"},
		`{"liveness_probe":{"timeout":"9s"}}`:                    {"liveness_probe.timeout"},
		`{"liveness_probe":{"http":{"path":"/x"}}}`:              {"liveness_probe.http.path"},
		`{"liveness_probe":{"http":{"path":null}}}`:              {},
		`{"liveness_probe":{"http":{"path":""}}}`:                {},
		`{"liveness_probe":{"tcp":{}}}`:                          {"liveness_probe.http.path", "liveness_probe.tcp"},
		`{"startup_probe":{"failure_threshold":null,"http":{}}}`: {"startup_probe.http.path", "startup_probe.tcp"},
		`{"startup_probe":{"interval":null,"timeout":"9s"}}`:     {"startup_probe.timeout"},
		`{"namespace_id":"","project_id":"","name":null}`:        {},
	} {
		request := sdkUpdate(t)
		if err := json.Unmarshal([]byte(body), &request); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		after, secrets, err := before.Update(text, container.Rules{}, born)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if after, err = secrets.Seal(after, sealing); err != nil {
			t.Fatal(err)
		}
		if got := changed(flat(t, before), flat(t, after)); !slices.Equal(got, want) {
			t.Errorf("%s changes %v, want %v", body, got, want)
		}
		if (after.Generation == before.Generation) != (len(want) == 0) {
			t.Errorf("%s: got generation %d", body, after.Generation)
		}
		if string(after.SealedToken) != "sealed hush" {
			t.Errorf("%s: the token is lost", body)
		}
	}
	if got := flat(t, before); got["startup_probe.interval"] != "0.5s" || got["environment_variables.A"] != "1" {
		t.Error("the container that the updates were made of has changed")
	}
}

func TestUpdate_WithItsOwnAnswerChangesNothing(t *testing.T) {
	t.Parallel()
	before := seal(t, everything)
	answer, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	after, _, err := before.Update(answer, container.Rules{}, born)
	if err != nil || after.Generation != before.Generation {
		t.Errorf("got generation %d, %v", after.Generation, err)
	}
}

// TestBody_RefusesEveryFieldOfAnotherType asks for each field of the stock SDK's
// requests, so that a field that the service does not read fails here.
func TestBody_RefusesEveryFieldOfAnotherType(t *testing.T) {
	t.Parallel()
	before := create(t, `{"name":"n","image":"https://e.example"}`)
	for _, request := range []reflect.Type{reflect.TypeFor[sdk.CreateContainerRequest](), reflect.TypeFor[sdk.UpdateContainerRequest]()} {
		for _, path := range paths(request) {
			body := `[1]` // no field takes a list of numbers
			names := strings.Split(path, ".")
			slices.Reverse(names)
			for _, name := range names {
				body = `{"` + name + `":` + body + `}`
			}
			_, _, err := before.Update([]byte(body), container.Rules{}, born)
			if !slices.Contains(faults(err), path+": format") {
				t.Errorf("%s: %s gives %v", request.Name(), body, err)
			}
			if _, _, err := container.Create([]byte(body), id, "fr-par", container.Rules{}, born); !slices.Contains(faults(err), path+": format") {
				t.Errorf("%s: %s on create gives %v", request.Name(), body, err)
			}
		}
	}
}

// paths returns the dotted paths of a request's fields in JSON.
func paths(request reflect.Type) []string {
	var list []string
	for i := range request.NumField() {
		name, _, _ := strings.Cut(request.Field(i).Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		list = append(list, name)
		field := request.Field(i).Type
		if field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		if field.Kind() == reflect.Struct && field.Name() != "Duration" {
			for _, nested := range paths(field) {
				list = append(list, name+"."+nested)
			}
		}
	}
	return list
}

// faults returns the faults of an error as "argument: reason".
func faults(err error) []string {
	var list []string
	if arguments, ok := apierr.From(err).Details.([]apierr.Argument); err != nil && ok {
		for _, a := range arguments {
			list = append(list, a.Name+": "+string(a.Reason))
		}
	}
	return list
}

func TestBody_NamesTheFaultsOfASpec(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 70<<10)
	for body, want := range map[string]string{
		`"port":0`:                      "port: constraint",
		`"port":65536`:                  "port: constraint",
		`"port":"80"`:                   "port: format",
		`"port":80.5`:                   "port: format",
		`"min_scale":-1`:                "min_scale: format",
		`"min_scale":4294967296`:        "min_scale: constraint",
		`"memory_limit_bytes":1e30`:     "memory_limit_bytes: format",
		`"protocol":"http2"`:            "protocol: constraint",
		`"sandbox":"V1"`:                "sandbox: constraint",
		`"https_connections_only":"no"`: "https_connections_only: format",
		`"scaling_option":{"cpu_usage_threshold":1,"memory_usage_threshold":1}`: "scaling_option: constraint",
		`"liveness_probe":{"tcp":{},"http":{"path":"/"}}`:                       "liveness_probe: constraint",
		`"liveness_probe":{"interval":"10"}`:                                    "liveness_probe.interval: format",
		`"startup_probe":{"timeout":"3601s"}`:                                   "startup_probe.timeout: constraint",
		`"startup_probe":{"http":{"path":"/a b"}}`:                              "startup_probe.http.path: format",
		`"private_network_id":"pn"`:                                             "private_network_id: format",
		`"command":["a",null]`:                                                  "command: format",
		`"command":["` + long + `"]`:                                            "command: constraint",
		`"args":["` + long + `"]`:                                               "args: constraint",
		`"environment_variables":{"A":1}`:                                       "environment_variables: format",
		`"environment_variables":{"":"a"}`:                                      "environment_variables: constraint",
		`"environment_variables":{"A":"` + long + `"}`:                          "environment_variables: constraint",
		`"secret_environment_variables":{"A":null}`:                             "secret_environment_variables: format",
		`"secret_environment_variables":{"":"a"}`:                               "secret_environment_variables: constraint",
		`"secret_environment_variables":{"A":"` + long[:2049] + `"}`:            "secret_environment_variables.A: constraint",
		`"secret_environment_variables":{"INVOKE_TOKEN":"a b"}`:                 "secret_environment_variables.INVOKE_TOKEN: format",
		`"secret_environment_variables":` + manyVariables(51):                   "secret_environment_variables: constraint",
	} {
		_, _, err := container.Create([]byte(`{"name":"n","image":"https://e.example",`+body+`}`), id, "fr-par", container.Rules{}, born)
		if got := faults(err); !slices.Equal(got, []string{want}) {
			t.Errorf("%.80s: got %v, want %s", body, got, want)
		}
	}
}

func manyVariables(n int) string {
	variables := make([]string, n)
	for i := range variables {
		variables[i] = fmt.Sprintf(`"V%d":"x"`, i)
	}
	return "{" + strings.Join(variables, ",") + "}"
}
