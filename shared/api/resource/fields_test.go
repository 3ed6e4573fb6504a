package resource_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	sdk "github.com/scaleway/scaleway-sdk-go/api/container/v1"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/listing"
	"containertriggers/shared/domain/namespace"
	"containertriggers/shared/domain/trigger"
)

// TestAnswer_HasEveryFieldOfTheStockSDK shows what is new when the SDK is bumped: a
// field that no answer has must be added, or named here with the reason.
func TestAnswer_HasEveryFieldOfTheStockSDK(t *testing.T) {
	t.Parallel()
	for _, resource := range []struct {
		sdk     any
		answers []any
		// left are the paths that no answer has, with the reason.
		left map[string]string
	}{
		{sdk.Trigger{}, []any{ready(t, daily), ready(t, queue), ready(t, nats)}, nil},
		{sdk.Container{}, []any{
			registered(t, `"scaling_option":{"cpu_usage_threshold":1},"startup_probe":{"tcp":{}},"liveness_probe":{"http":{}}`),
			registered(t, `"scaling_option":{"memory_usage_threshold":1},"startup_probe":{"http":{}}`),
			registered(t, ``),
		}, nil},
		{sdk.Namespace{}, []any{named(t)}, nil},
	} {
		answered := map[string]bool{}
		for _, answer := range resource.answers {
			text, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			var object map[string]any
			if err := json.Unmarshal(text, &object); err != nil {
				t.Fatal(err)
			}
			collect(answered, "", object)
		}
		kind := reflect.TypeOf(resource.sdk)
		fields := fieldsOf(kind)
		for _, path := range fields {
			if _, left := resource.left[path]; left == answered[path] {
				t.Errorf("%s.%s: answered %v, named as an exception %v", kind.Name(), path, answered[path], left)
			}
		}
		if len(fields) < 10 {
			t.Errorf("%s has the fields %v: the test looks for them wrongly", kind.Name(), fields)
		}
	}
}

const queue = `"sqs_config":{"endpoint":"https://sqs.example","access_key_id":"AK","secret_access_key":"SK","queue_url":"https://sqs.example/1/q"}`

func ready(t *testing.T, config string) trigger.Trigger {
	t.Helper()
	created, _, err := trigger.Create([]byte(`{"name":"n","container_id":"`+uuid.NewString()+`",`+config+`}`), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	created.Status = trigger.Ready
	return created
}

func registered(t *testing.T, fields string) container.Container {
	t.Helper()
	body := `{"image":"https://e.example","name":"n"`
	if fields != "" {
		body += "," + fields
	}
	created, secrets, err := container.Create([]byte(body+"}"), uuid.NewString(), "fr-par", container.Rules{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	created, err = secrets.Seal(created, func(secret.Text) ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func named(t *testing.T) namespace.Namespace {
	t.Helper()
	created, _, err := namespace.Create([]byte(`{"name":"n"}`), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func TestAnswers_NameTheResourceByTheRequestsDomain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(0, "n", daily)
	request := httpapi.Request{Region: "fr-par", Domain: "api.example", ID: id}
	found, err := b.triggers.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	query, err := listing.Triggers("fr-par", nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(answer any, err error) any {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	do := func(op httpapi.Operation[trigger.Trigger], body string) any {
		request.Body = []byte(body)
		return ask(op.Do(t.Context(), b.callers["all"], request, found))
	}
	for name, answer := range map[string]any{
		"get":       do(b.handlers.Get(), ""),
		"no change": do(b.update(), `{}`),
		"update":    do(b.update(), `{"name":"m"}`),
		"list":      ask(b.handlers.List("triggers", listing.Triggers).Do(t.Context(), b.callers["all"], request, query)),
		"delete":    do(b.handlers.Delete(), ""),
	} {
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		if want := `"region":"fr-par","srn":"srn://containers.api.example/regions/fr-par/triggers/` + id + `"`; !strings.Contains(string(text), want) {
			t.Errorf("%s: %s is not in %s", name, want, text)
		}
	}
}

// collect notes the dotted paths of an answer.
func collect(paths map[string]bool, prefix string, object map[string]any) {
	for name, value := range object {
		paths[prefix+name] = true
		if nested, ok := value.(map[string]any); ok {
			collect(paths, prefix+name+".", nested)
		}
	}
}

// fieldsOf returns the dotted paths of a type's fields in JSON, those of nested
// objects of the SDK included.
func fieldsOf(kind reflect.Type) []string {
	var list []string
	for i := range kind.NumField() {
		field := kind.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		list = append(list, name)
		nested := field.Type
		if nested.Kind() == reflect.Pointer {
			nested = nested.Elem()
		}
		if nested.Kind() == reflect.Struct && nested.PkgPath() == kind.PkgPath() {
			for _, path := range fieldsOf(nested) {
				list = append(list, name+"."+path)
			}
		}
	}
	return list
}
