package trigger_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/scaleway/scaleway-sdk-go/api/container/v1"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/trigger"
)

// flat returns the fields of an answer by their dotted paths.
func flat(t *testing.T, tr trigger.Trigger) map[string]string {
	t.Helper()
	text, err := json.Marshal(tr)
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

// enums returns the dotted paths of a request's enums in JSON.
func enums(request reflect.Type) []string {
	var list []string
	for i := range request.NumField() {
		name, _, _ := strings.Cut(request.Field(i).Tag.Get("json"), ",")
		field := request.Field(i).Type
		if field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		if _, isEnum := field.MethodByName("Values"); isEnum {
			list = append(list, name)
		} else if field.Kind() == reflect.Struct {
			for _, nested := range enums(field) {
				list = append(list, name+"."+nested)
			}
		}
	}
	return list
}

// nested returns the body that sets the field at a dotted path.
func nested(path, value string) string {
	names := strings.Split(path, ".")
	slices.Reverse(names)
	for _, name := range names {
		value = `{"` + name + `":` + value + `}`
	}
	return value
}

func TestUpdate_LeavesEveryEnumUntouchedByItsZeroValue(t *testing.T) {
	t.Parallel()
	before := create(t, `{"name":"n","container_id":"`+containerID+`","destination_config":{"http_path":"/p","http_method":"put"},"cron_config":{"schedule":"@daily"}}`)
	found := enums(reflect.TypeFor[sdk.UpdateTriggerRequest]())
	if len(found) == 0 {
		t.Fatal("the SDK's request has no enum: the test looks for them wrongly")
	}
	for _, path := range found {
		for _, value := range []string{`"unknown_http_method"`, `"unknown_later"`, `""`, `null`} {
			after, _, err := before.Update([]byte(nested(path, value)), born)
			if err != nil || after.Generation != before.Generation || !reflect.DeepEqual(after, before) {
				t.Errorf("%s: %s gives %+v, %v", path, value, after, err)
			}
		}
		if _, _, err := before.Update([]byte(nested(path, `"other"`)), born); err == nil {
			t.Errorf("%s takes any value", path)
		}
	}
	for _, value := range []string{`"unknown_http_method"`, `""`, `null`} {
		fresh := create(t, `{"name":"n","container_id":"`+containerID+`","destination_config":{"http_path":"","http_method":`+value+`},"cron_config":{"schedule":"@daily"}}`)
		if fresh.Destination != (trigger.Destination{HTTPPath: "/", HTTPMethod: "post"}) {
			t.Errorf("%s on create: got %+v", value, fresh.Destination)
		}
	}
}

func TestUpdate_ChangesTheNamedFieldsOnly(t *testing.T) {
	t.Parallel()
	const common = `"name":"n","description":"d","tags":["t"],"container_id":"` + containerID + `","destination_config":{"http_path":"/p","http_method":"put"},`
	for config, updates := range map[string]map[string][]string{
		`"cron_config":{"schedule":"0 3 * * *","timezone":"Asia/Seoul","body":"b","headers":{"h":"1"}}`: {
			`{}`:                   {},
			`{"name":"m"}`:         {"name"},
			`{"description":""}`:   {"description"},
			`{"tags":[]}`:          {"tags"},
			`{"tags":null}`:        {},
			`{"cron_config":{}}`:   {},
			`{"cron_config":null}`: {},
			`{"destination_config":{"http_path":"/q","http_method":"unknown_http_method"}}`: {"destination_config.http_path"},
			`{"destination_config":{"http_path":"","http_method":"get"}}`:                   {"destination_config.http_method"},
			`{"destination_config":{"http_path":null,"http_method":null}}`:                  {},
			`{"cron_config":{"schedule":"0 4 * * *"}}`:                                      {"cron_config.schedule", "status"},
			`{"cron_config":{"timezone":""}}`:                                               {"cron_config.timezone", "status"}, // is UTC
			`{"cron_config":{"body":""}}`:                                                   {"cron_config.body", "status"},
			`{"cron_config":{"headers":{"h":"2"}}}`:                                         {"cron_config.headers.h", "status"},
			`{"cron_config":{"schedule":null,"timezone":null,"body":null,"headers":null}}`:  {},
		},
		`"sqs_config":{"region":"nl-ams","endpoint":"https://sqs.example","access_key_id":"AK","secret_access_key":"SK","queue_url":"https://sqs.example/1/q"}`: {
			`{"sqs_config":{"region":null,"endpoint":null,"access_key_id":null,"secret_access_key":null,"queue_url":null}}`: {},
			`{"sqs_config":{"region":""}}`:                               {"sqs_config.region", "status"}, // is the trigger's
			`{"sqs_config":{"endpoint":"https://sqs.other"}}`:            {"sqs_config.endpoint", "status"},
			`{"sqs_config":{"access_key_id":"BK"}}`:                      {"sqs_config.access_key_id", "status"},
			`{"sqs_config":{"queue_url":"https://sqs.example/1/other"}}`: {"sqs_config.queue_url", "status"},
		},
		`"nats_config":{"server_urls":["nats://a"],"subject":"s"}`: {
			`{"nats_config":{"server_urls":[]}}`:                                                  {},
			`{"nats_config":{"server_urls":null,"subject":null,"credentials_file_content":null}}`: {},
			`{"nats_config":{"server_urls":[],"subject":"other"}}`:                                {"nats_config.subject", "status"},
			`{"nats_config":{"server_urls":["nats://b"]}}`:                                        {"nats_config.server_urls", "status"},
		},
	} {
		before := create(t, `{`+common+config+`}`)
		before.Status = trigger.Ready
		for body, want := range updates {
			after, _, err := before.Update([]byte(body), born)
			if err != nil {
				t.Errorf("%s: %v", body, err)
				continue
			}
			is, was := flat(t, after), flat(t, before)
			all := maps.Clone(was)
			maps.Copy(all, is)
			maps.DeleteFunc(all, func(path, _ string) bool {
				return was[path] == is[path] || path == "updated_at" || path == "error_message"
			})
			if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
				t.Errorf("%s changes %v, want %v", body, got, want)
			}
		}
	}
}

func TestUpdate_RefusesHeadersThatDifferOnlyInCase(t *testing.T) {
	t.Parallel()
	_, _, err := cronTrigger(t).Update([]byte(`{"cron_config":{"headers":{"X-Tag":"a","x-tag":"b"}}}`), born)
	equal(t, faults(t, err), []string{"cron_config.headers: constraint"})
}

func TestUpdate_IgnoresFieldsThatAreAbsentOrNull(t *testing.T) {
	t.Parallel()
	before := create(t, `{"name":"n","description":"d","tags":["a"],"container_id":"`+containerID+`",
		"destination_config":{"http_path":"/p?q=1","http_method":"put"},
		"cron_config":{"schedule":"0 3 * * *","timezone":"Asia/Seoul","body":"b","headers":{"a":"b"}}}`)
	for _, body := range []string{
		`{}`,
		`{"name":null,"description":null,"tags":null,"destination_config":null,"cron_config":null,"sqs_config":null,"nats_config":null}`,
		`{"destination_config":{"http_path":null,"http_method":null},"cron_config":{"schedule":null,"timezone":null,"body":null,"headers":null}}`,
		`{"container_id":"` + containerID + `","name":"n","cron_config":{"headers":{"a":"b"}}}`,
	} {
		after, secret, err := before.Update([]byte(body), born.Add(time.Hour))
		if err != nil || secret != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if after.Generation != before.Generation || !after.UpdatedAt.Equal(before.UpdatedAt) || after.Status != before.Status {
			t.Errorf("%s: the trigger changed: %+v", body, after)
		}
	}
}

func TestUpdate_ChangesEachFieldOnItsOwn(t *testing.T) {
	t.Parallel()
	for body, wantStatus := range map[string]trigger.Status{
		`{"name":"other"}`:   trigger.Ready,
		`{"description":""}`: trigger.Ready,
		`{"tags":[]}`:        trigger.Ready,
		`{"destination_config":{"http_path":"/new"}}`:           trigger.Ready,
		`{"destination_config":{"http_method":"delete"}}`:       trigger.Ready,
		`{"cron_config":{"schedule":"5 5 * * *"}}`:              trigger.Updating,
		`{"cron_config":{"timezone":"Europe/Paris"}}`:           trigger.Updating,
		`{"cron_config":{"body":""}}`:                           trigger.Updating,
		`{"cron_config":{"headers":{}}}`:                        trigger.Updating,
		`{"name":"other","cron_config":{"headers":{"a":"c"}}}`:  trigger.Updating,
		`{"name":"other","cron_config":{"schedule":null}}`:      trigger.Ready,
		`{"tags":["b"],"cron_config":{"schedule":"0 3 * * *"}}`: trigger.Ready,
	} {
		before := create(t, `{"name":"n","description":"d","tags":["a"],"container_id":"`+containerID+`",
			"cron_config":{"schedule":"0 3 * * *","body":"b","headers":{"a":"b"}}}`)
		before.Status = trigger.Ready
		after, _, err := before.Update([]byte(body), born)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if after.Status != wantStatus {
			t.Errorf("%s: got status %s, want %s", body, after.Status, wantStatus)
		}
		if after.Generation != before.Generation+1 || !after.UpdatedAt.After(before.UpdatedAt) {
			t.Errorf("%s: got generation %d at %v", body, after.Generation, after.UpdatedAt)
		}
	}
}

func TestUpdate_LeavesTheOldTriggerUnchanged(t *testing.T) {
	t.Parallel()
	before := create(t, `{"name":"n","tags":["a"],"container_id":"`+containerID+`","cron_config":{"schedule":"@daily","headers":{"a":"b"}}}`)
	if _, _, err := before.Update([]byte(`{"tags":["z"],"cron_config":{"schedule":"@hourly","headers":{"a":"z"}}}`), born); err != nil {
		t.Fatal(err)
	}
	if before.Tags[0] != "a" || before.Cron.Schedule != "@daily" || before.Cron.Headers["a"] != "b" {
		t.Errorf("the original changed: %+v %+v", before.Tags, before.Cron)
	}
}

func TestUpdate_RefusesAnotherSource(t *testing.T) {
	t.Parallel()
	_, _, err := cronTrigger(t).Update([]byte(`{"sqs_config":{},"nats_config":{"subject":"s"},"container_id":"11111111-1111-1111-1111-111111111111"}`), born)
	equal(t, faults(t, err), []string{"container_id: constraint", "sqs_config: constraint", "nats_config: constraint"})
}

func TestUpdate_ReturnsTransientStateOnceDeleting(t *testing.T) {
	t.Parallel()
	deleting := cronTrigger(t)
	deleting.Status = trigger.Deleting
	_, _, err := deleting.Update([]byte(`{}`), born)
	if told := apierr.From(err); told.Type != apierr.TypeTransientState || told.CurrentState != "deleting" {
		t.Errorf("got %v", err)
	}
}

func TestUpdate_ASecretIsAChangeOfTheSource(t *testing.T) {
	t.Parallel()
	before := create(t, `{"name":"n","container_id":"`+containerID+`","nats_config":{"server_urls":["nats://n"],"subject":"s"}}`)
	before.Status = trigger.Ready
	same, secret, err := before.Update([]byte(`{"nats_config":{"credentials_file_content":""}}`), born)
	if err != nil || secret != nil || same.Generation != before.Generation {
		t.Errorf("an empty secret where there is none changed the trigger: %v", err)
	}
	before.SealedSecret = []byte("sealed")
	for _, given := range []string{"", "hush"} {
		after, secret, err := before.Update([]byte(`{"nats_config":{"credentials_file_content":"`+given+`"}}`), born)
		if err != nil || secret == nil || string(*secret) != given || after.Status != trigger.Updating {
			t.Errorf("%q: got %v, %v", given, after.Status, err)
		}
	}
}
