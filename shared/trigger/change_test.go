package trigger_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"containertriggers/shared/container"
	"containertriggers/shared/fault"
	"containertriggers/shared/trigger"
)

const (
	containerID = "9001700a-da3d-4d72-8ed0-53eb40ec2216"
	triggerID   = "8f5d9521-e950-41e0-b980-b85131050aff"
)

var born = time.Date(2026, 5, 5, 14, 42, 51, 232279000, time.UTC)

func create(t *testing.T, body string) trigger.Trigger {
	t.Helper()
	created, _, err := trigger.Create([]byte(body), triggerID, "fr-par", born)
	if err != nil {
		t.Fatalf("creating a trigger: %v", err)
	}
	return created
}

func cronTrigger(t *testing.T) trigger.Trigger {
	t.Helper()
	return create(t, `{"name":"nightly","container_id":"`+containerID+`","cron_config":{"schedule":"0 3 * * *"}}`)
}

// faults gives the faults of an error as "argument: reason".
func faults(t *testing.T, err error) []string {
	t.Helper()
	told, ok := errors.AsType[*fault.Error](err)
	if !ok {
		t.Fatalf("got error %v, want a fault", err)
	}
	arguments, ok := told.Details.([]fault.Argument)
	if !ok {
		t.Fatalf("got details %v, want arguments", told.Details)
	}
	list := make([]string, len(arguments))
	for i, a := range arguments {
		list[i] = a.Name + ": " + string(a.Reason)
		if a.Help == "" {
			t.Errorf("%s has no help message", a.Name)
		}
	}
	return list
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if string(g) != string(w) {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}

func TestCreateFillsInTheDefaults(t *testing.T) {
	t.Parallel()
	created := create(t, `{"name":"n","container_id":"`+strings.ToUpper(containerID)+`","tags":null,
		"cron_config":{"schedule":"@daily","timezone":"","headers":null},"unknown":{"field":1}}`)
	body, err := json.Marshal(created)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"8f5d9521-e950-41e0-b980-b85131050aff","name":"n","description":"","tags":[],` +
		`"status":"creating","container_id":"9001700a-da3d-4d72-8ed0-53eb40ec2216",` +
		`"destination_config":{"http_path":"/","http_method":"post"},"source_type":"cron",` +
		`"created_at":"2026-05-05T14:42:51.232279Z","updated_at":"2026-05-05T14:42:51.232279Z",` +
		`"cron_config":{"schedule":"@daily","timezone":"UTC","body":"","headers":{}}}`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}

func TestSecretsAreReturnedApartAndNeverMarshalled(t *testing.T) {
	t.Parallel()
	for _, config := range []string{
		`"sqs_config":{"endpoint":"https://sqs.eu-west-3.amazonaws.com","access_key_id":"AK","secret_access_key":"hush","queue_url":"https://sqs.eu-west-3.amazonaws.com/1/q"}`,
		`"nats_config":{"server_urls":["nats://n:4222"],"subject":"a.*.>","credentials_file_content":"hush"}`,
	} {
		created, secret, err := trigger.Create([]byte(`{"name":"n","container_id":"`+containerID+`",`+config+`}`), triggerID, "nl-ams", born)
		if err != nil {
			t.Fatal(err)
		}
		if secret == nil || string(*secret) != "hush" {
			t.Errorf("the secret is not returned")
		}
		body, err := json.Marshal(created)
		if err != nil || strings.Contains(string(body), "hush") {
			t.Errorf("got %s, %v", body, err)
		}
		if created.SQS != nil && created.SQS.Region != "nl-ams" {
			t.Errorf("got region %q, want the trigger's own", created.SQS.Region)
		}
	}
}

func TestEveryFaultOfACreateIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	valid := map[string]any{
		"name": "n", "container_id": containerID,
		"cron_config": map[string]any{"schedule": "* * * * *"},
	}
	sqs := func(changes map[string]any) map[string]any {
		config := map[string]any{
			"endpoint": "https://sqs.example", "access_key_id": "AK", "secret_access_key": "SK",
			"queue_url": "https://sqs.example/1/q",
		}
		for key, value := range changes {
			config[key] = value
		}
		return map[string]any{"cron_config": nil, "sqs_config": config}
	}
	nats := func(changes map[string]any) map[string]any {
		config := map[string]any{"server_urls": []string{"nats://n:4222"}, "subject": "s"}
		for key, value := range changes {
			config[key] = value
		}
		return map[string]any{"cron_config": nil, "nats_config": config}
	}
	cron := func(key string, value any) map[string]any {
		return map[string]any{"cron_config": map[string]any{"schedule": "* * * * *", key: value}}
	}
	destination := func(key string, value any) map[string]any {
		return map[string]any{"destination_config": map[string]any{key: value}}
	}
	many := func(n int) []string { return make([]string, n) }
	headers := map[string]string{}
	for i := range 65 {
		headers["h"+strings.Repeat("x", i)] = ""
	}

	for name, test := range map[string]struct {
		changes map[string]any
		want    []string
	}{
		"no name":                {map[string]any{"name": nil}, []string{"name: required"}},
		"empty name":             {map[string]any{"name": ""}, []string{"name: required"}},
		"name of another type":   {map[string]any{"name": 7}, []string{"name: format"}},
		"long name":              {map[string]any{"name": strings.Repeat("é", 129)}, []string{"name: constraint"}},
		"line break in name":     {map[string]any{"name": "a\nb"}, []string{"name: constraint"}},
		"long description":       {map[string]any{"description": strings.Repeat("é", 1025)}, []string{"description: constraint"}},
		"description as list":    {map[string]any{"description": []string{}}, []string{"description: format"}},
		"tags as string":         {map[string]any{"tags": "a"}, []string{"tags: format"}},
		"null as a tag":          {map[string]any{"tags": []any{"a", nil}}, []string{"tags: format"}},
		"too many tags":          {map[string]any{"tags": many(101)}, []string{"tags: constraint"}},
		"long tag":               {map[string]any{"tags": []string{strings.Repeat("t", 257)}}, []string{"tags: constraint"}},
		"no container":           {map[string]any{"container_id": nil}, []string{"container_id: required"}},
		"container is no UUID":   {map[string]any{"container_id": "{" + containerID + "}"}, []string{"container_id: format"}},
		"no source":              {map[string]any{"cron_config": nil}, []string{"cron_config: required"}},
		"source is no object":    {map[string]any{"cron_config": "* * * * *"}, []string{"cron_config: format"}},
		"two sources":            {map[string]any{"nats_config": nats(nil)["nats_config"]}, []string{"cron_config: constraint", "nats_config: constraint"}},
		"no schedule":            {map[string]any{"cron_config": map[string]any{}}, []string{"cron_config.schedule: required"}},
		"bad schedule":           {cron("schedule", "61 * * * *"), []string{"cron_config.schedule: format"}},
		"schedule that is never": {cron("schedule", "0 0 30 2 *"), []string{"cron_config.schedule: format"}},
		"unknown zone":           {cron("timezone", "Europe/Atlantis"), []string{"cron_config.timezone: format"}},
		"local zone":             {cron("timezone", "Local"), []string{"cron_config.timezone: format"}},
		"body too long":          {cron("body", strings.Repeat("b", 64<<10+1)), []string{"cron_config.body: constraint"}},
		"body is an object":      {cron("body", map[string]any{}), []string{"cron_config.body: format"}},
		"header of a number":     {cron("headers", map[string]any{"a": 1}), []string{"cron_config.headers: format"}},
		"header of null":         {cron("headers", map[string]any{"a": nil}), []string{"cron_config.headers: format"}},
		"header with a space":    {cron("headers", map[string]any{"a b": "c"}), []string{"cron_config.headers: format"}},
		"header without a name":  {cron("headers", map[string]any{"": "c"}), []string{"cron_config.headers: format"}},
		"header injection":       {cron("headers", map[string]any{"a": "b\r\nX-Evil: 1"}), []string{"cron_config.headers: format"}},
		"too many headers":       {cron("headers", headers), []string{"cron_config.headers: constraint"}},
		"headers too long":       {cron("headers", map[string]any{"a": strings.Repeat("v", 16<<10)}), []string{"cron_config.headers: constraint"}},
		"path of another host":   {destination("http_path", "//evil.example/x"), []string{"destination_config.http_path: format"}},
		"path is a URL":          {destination("http_path", "https://evil.example/"), []string{"destination_config.http_path: format"}},
		"path without a slash":   {destination("http_path", "x"), []string{"destination_config.http_path: format"}},
		"path with a fragment":   {destination("http_path", "/x#y"), []string{"destination_config.http_path: format"}},
		"path that climbs":       {destination("http_path", "/a/../b"), []string{"destination_config.http_path: constraint"}},
		"path that climbs coded": {destination("http_path", "/a/%2e%2E/b"), []string{"destination_config.http_path: constraint"}},
		"path with a line break": {destination("http_path", "/a\r\nb"), []string{"destination_config.http_path: format"}},
		"path with a space":      {destination("http_path", "/a b"), []string{"destination_config.http_path: format"}},
		"path with a backslash":  {destination("http_path", `/\evil.example`), []string{"destination_config.http_path: format"}},
		"path with half a code":  {destination("http_path", "/%zz"), []string{"destination_config.http_path: format"}},
		"long path":              {destination("http_path", "/"+strings.Repeat("p", 2048)), []string{"destination_config.http_path: constraint"}},
		"unknown method":         {destination("http_method", "head"), []string{"destination_config.http_method: constraint"}},
		"upper-case method":      {destination("http_method", "GET"), []string{"destination_config.http_method: constraint"}},
		"AWS region":             {sqs(map[string]any{"region": "eu-west-3"}), []string{"sqs_config.region: format"}},
		"no queue":               {sqs(map[string]any{"queue_url": nil}), []string{"sqs_config.queue_url: required"}},
		"queue is no URL":        {sqs(map[string]any{"queue_url": "q"}), []string{"sqs_config.queue_url: format"}},
		"endpoint of a file":     {sqs(map[string]any{"endpoint": "file:///etc/passwd"}), []string{"sqs_config.endpoint: format"}},
		"password in a URL":      {sqs(map[string]any{"endpoint": "https://u:p@sqs.example"}), []string{"sqs_config.endpoint: constraint"}},
		"empty sqs_config": {map[string]any{"cron_config": nil, "sqs_config": map[string]any{}}, []string{
			"sqs_config.endpoint: required", "sqs_config.access_key_id: required",
			"sqs_config.secret_access_key: required", "sqs_config.queue_url: required",
		}},
		"no servers":            {nats(map[string]any{"server_urls": []string{}}), []string{"nats_config.server_urls: constraint"}},
		"six servers":           {nats(map[string]any{"server_urls": []string{"nats://a", "nats://b", "nats://c", "nats://d", "nats://e", "nats://f"}}), []string{"nats_config.server_urls: constraint"}},
		"server of http":        {nats(map[string]any{"server_urls": []string{"http://n"}}), []string{"nats_config.server_urls: format"}},
		"two servers in one":    {nats(map[string]any{"server_urls": []string{"nats://a,nats://u:p@b"}}), []string{"nats_config.server_urls: constraint"}},
		"password of a server":  {nats(map[string]any{"server_urls": []string{"nats://u:p@n"}}), []string{"nats_config.server_urls: constraint"}},
		"no subject":            {nats(map[string]any{"subject": ""}), []string{"nats_config.subject: required"}},
		"subject with a space":  {nats(map[string]any{"subject": "a b"}), []string{"nats_config.subject: format"}},
		"subject of two dots":   {nats(map[string]any{"subject": "a..b"}), []string{"nats_config.subject: format"}},
		"subject goes on":       {nats(map[string]any{"subject": "a.>.b"}), []string{"nats_config.subject: format"}},
		"half a wildcard":       {nats(map[string]any{"subject": "a.b*"}), []string{"nats_config.subject: format"}},
		"credentials too long":  {nats(map[string]any{"credentials_file_content": strings.Repeat("c", 4097)}), []string{"nats_config.credentials_file_content: constraint"}},
		"credentials of a list": {nats(map[string]any{"credentials_file_content": []int{1}}), []string{"nats_config.credentials_file_content: format"}},
		"all at once": {
			map[string]any{
				"name": 1, "container_id": "x", "destination_config": map[string]any{"http_path": "x", "http_method": "x"},
				"cron_config": map[string]any{"schedule": "x", "timezone": "x"},
			},
			[]string{
				"name: format", "destination_config.http_path: format", "destination_config.http_method: constraint",
				"container_id: format", "cron_config.schedule: format", "cron_config.timezone: format",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request := map[string]any{}
			for key, value := range valid {
				request[key] = value
			}
			for key, value := range test.changes {
				request[key] = value
			}
			body, err := json.Marshal(request)
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = trigger.Create(body, triggerID, "fr-par", born)
			equal(t, faults(t, err), test.want)
		})
	}
}

func TestBodyThatIsNotAnObjectIsAFaultOfTheBody(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "null", "[]", `"x"`, "{", `{"name":}`, "{}{}", "\xff", `{"name":"` + "\xff" + `"}`, strings.Repeat("[", 100_000)} {
		_, _, err := trigger.Create([]byte(body), triggerID, "fr-par", born)
		if got := faults(t, err); got[0] != "body: format" {
			t.Errorf("%.20q: got %v", body, got)
		}
		_, _, err = cronTrigger(t).Update([]byte(body), born)
		equal(t, faults(t, err), []string{"body: format"})
	}
}

func TestUpdateLeavesAloneWhatIsAbsentOrNull(t *testing.T) {
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

func TestUpdateChangesEachFieldOnItsOwn(t *testing.T) {
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

func TestUpdateDoesNotTouchTheTriggerItWasMadeOf(t *testing.T) {
	t.Parallel()
	before := create(t, `{"name":"n","tags":["a"],"container_id":"`+containerID+`","cron_config":{"schedule":"@daily","headers":{"a":"b"}}}`)
	if _, _, err := before.Update([]byte(`{"tags":["z"],"cron_config":{"schedule":"@hourly","headers":{"a":"z"}}}`), born); err != nil {
		t.Fatal(err)
	}
	if before.Tags[0] != "a" || before.Cron.Schedule != "@daily" || before.Cron.Headers["a"] != "b" {
		t.Errorf("the original changed: %+v %+v", before.Tags, before.Cron)
	}
}

func TestUpdateOfAnotherSourceIsRefused(t *testing.T) {
	t.Parallel()
	_, _, err := cronTrigger(t).Update([]byte(`{"sqs_config":{},"nats_config":{"subject":"s"},"container_id":"11111111-1111-1111-1111-111111111111"}`), born)
	equal(t, faults(t, err), []string{"container_id: constraint", "sqs_config: constraint", "nats_config: constraint"})
}

func TestUpdateOfATriggerBeingDeletedIsATransientState(t *testing.T) {
	t.Parallel()
	deleting := cronTrigger(t)
	deleting.Status = trigger.Deleting
	_, _, err := deleting.Update([]byte(`{}`), born)
	if told := fault.As(err); told.Type != fault.TypeTransientState || told.CurrentState != "deleting" {
		t.Errorf("got %v", err)
	}
}

func TestGivingASecretIsAChangeOfTheSource(t *testing.T) {
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

func TestErrorMessageIsAnsweredInSettledStatusesOnly(t *testing.T) {
	t.Parallel()
	for status, want := range map[trigger.Status]bool{
		trigger.Creating: false, trigger.Updating: false, trigger.Deleting: false, trigger.Ready: true, trigger.Error: true,
	} {
		settled := cronTrigger(t)
		settled.Status = status
		body, err := json.Marshal(settled)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(body), `"error_message":""`); got != want {
			t.Errorf("%s: got %s", status, body)
		}
	}
}

// FuzzBody checks that no body makes a create or an update do anything but
// accept it or name its faults, and that what was accepted stays accepted.
func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"name":"n","container_id":"` + containerID + `","cron_config":{"schedule":"* * * * *","headers":{"a":"b"}}}`))
	f.Add([]byte(`{"name":"n","container_id":"` + containerID + `","sqs_config":{"endpoint":"https://a","access_key_id":"b","secret_access_key":"c","queue_url":"https://d"}}`))
	f.Add([]byte(`{"name":"n","container_id":"` + containerID + `","nats_config":{"server_urls":["nats://a"],"subject":"a.>"}}`))
	f.Add([]byte(`{"tags":[null],"destination_config":{"http_path":"/%2e%2e"}}`))
	f.Add([]byte("{\"name\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		created, _, err := trigger.Create(body, triggerID, "fr-par", born)
		if err != nil {
			if fault.As(err).Type != fault.TypeInvalidArguments || len(faults(t, err)) == 0 {
				t.Fatalf("got %v", err)
			}
			return
		}
		created.Owner = container.Owner{OrganizationID: "o", ProjectID: "p"}
		answer, err := json.Marshal(created)
		if err != nil {
			t.Fatalf("marshalling what was accepted: %v", err)
		}
		updated, secret, err := created.Update(answer, born)
		if err != nil {
			t.Fatalf("%s is accepted, but not its answer %s: %v", body, answer, err)
		}
		if secret != nil || updated.Generation != created.Generation {
			t.Fatalf("the answer %s is a change of itself", answer)
		}
	})
}
