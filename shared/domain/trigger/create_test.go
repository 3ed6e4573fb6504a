package trigger_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/trigger"
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

// faults returns the faults of an error as "argument: reason".
func faults(t *testing.T, err error) []string {
	t.Helper()
	told, ok := errors.AsType[*apierr.Error](err)
	if !ok {
		t.Fatalf("got error %v, want a fault", err)
	}
	arguments, ok := told.Details.([]apierr.Argument)
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

func TestRequiredFaults_NameTheirField(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		`{}`: {
			"name is required", "container_id is required", "cron_config is required unless sqs_config or nats_config is given",
		},
		`{"name":"","container_id":null,"cron_config":{}}`: {
			"name is required", "container_id is required", "cron_config.schedule is required",
		},
		`{"name":"n","container_id":"` + containerID + `","sqs_config":{"endpoint":""}}`: {
			"sqs_config.endpoint is required", "sqs_config.access_key_id is required",
			"sqs_config.secret_access_key is required", "sqs_config.queue_url is required",
		},
		`{"name":"n","container_id":"` + containerID + `","nats_config":{}}`: {
			"nats_config.server_urls is required", "nats_config.subject is required",
		},
	} {
		_, _, err := trigger.Create([]byte(body), triggerID, "fr-par", born)
		var got []string
		for _, d := range apierr.From(err).Details.([]apierr.Argument) {
			if d.Reason == apierr.Required && strings.Contains(d.Help, d.Name) {
				got = append(got, d.Help)
			}
		}
		equal(t, got, want)
	}
}

func TestCreate_FillsInTheDefaults(t *testing.T) {
	t.Parallel()
	created := create(t, `{"name":"n","container_id":"`+strings.ToUpper(containerID)+`","tags":null,
		"cron_config":{"schedule":"@daily","timezone":"","headers":null},"unknown":{"field":1}}`)
	body, err := json.Marshal(created.Answered("api.example", born))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"8f5d9521-e950-41e0-b980-b85131050aff","name":"n","description":"","tags":[],` +
		`"status":"creating","container_id":"9001700a-da3d-4d72-8ed0-53eb40ec2216",` +
		`"destination_config":{"http_path":"/","http_method":"post"},"source_type":"cron",` +
		`"created_at":"2026-05-05T14:42:51.232279Z","updated_at":"2026-05-05T14:42:51.232279Z",` +
		`"region":"fr-par","srn":"srn://containers.api.example/regions/fr-par/triggers/8f5d9521-e950-41e0-b980-b85131050aff",` +
		`"cron_config":{"schedule":"@daily","timezone":"UTC","body":"","headers":{}},"paused_at":null,"pause_reason":"","next_run_at":"2026-05-06T00:00:00.000000Z","delivery_config":{"history":"all"}}`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}

func TestPath_IsAnsweredUnchanged(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "/?", "/a[1]{2}|^`", "/a?b[]={c}|^`&d=\"<e>\"", "/caf\u00e9?q=caf\u00e9", "/a%2Fb?c=%5B%5d%7b", "/?a?b/c:@"} {
		given, err := json.Marshal(path)
		if err != nil {
			t.Fatal(err)
		}
		created := create(t, `{"name":"n","container_id":"`+containerID+`","destination_config":{"http_path":`+string(given)+`},"cron_config":{"schedule":"@daily"}}`)
		if created.Destination.HTTPPath != path {
			t.Errorf("%s is answered as %s", path, created.Destination.HTTPPath)
		}
	}
}

func TestCreate_ReturnsTheSecretApart(t *testing.T) {
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

func TestCreate_NamesEveryFaultAtOnce(t *testing.T) {
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
		"zone that opens a file": {cron("timezone", "America//New_York"), []string{"cron_config.timezone: format"}},
		"unknown zone":           {cron("timezone", "Europe/Atlantis"), []string{"cron_config.timezone: format"}},
		"local zone":             {cron("timezone", "Local"), []string{"cron_config.timezone: format"}},
		"body too long":          {cron("body", strings.Repeat("b", 64<<10+1)), []string{"cron_config.body: constraint"}},
		"body is an object":      {cron("body", map[string]any{}), []string{"cron_config.body: format"}},
		"header of a number":     {cron("headers", map[string]any{"a": 1}), []string{"cron_config.headers: format"}},
		"header of null":         {cron("headers", map[string]any{"a": nil}), []string{"cron_config.headers: format"}},
		"header with a space":    {cron("headers", map[string]any{"a b": "c"}), []string{"cron_config.headers: format"}},
		"header without a name":  {cron("headers", map[string]any{"": "c"}), []string{"cron_config.headers: format"}},
		"headers of one name":    {cron("headers", map[string]any{"X-Tag": "a", "x-tag": "b", "x-other": "c"}), []string{"cron_config.headers: constraint"}},
		"header injection":       {cron("headers", map[string]any{"a": "b\r\nX-Evil: 1"}), []string{"cron_config.headers: format"}},
		"header beyond ASCII":    {cron("headers", map[string]any{"é": "c"}), []string{"cron_config.headers: format"}},
		"header value of DEL":    {cron("headers", map[string]any{"a": "\x7f"}), []string{"cron_config.headers: format"}},
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
		"path with a cut code":   {destination("http_path", "/a%2"), []string{"destination_config.http_path: format"}},
		"query with half a code": {destination("http_path", "/?q=%zz"), []string{"destination_config.http_path: format"}},
		"query with a bare %":    {destination("http_path", "/?q=100%"), []string{"destination_config.http_path: format"}},
		"query with a cut code":  {destination("http_path", "/?a=%20&b=%2"), []string{"destination_config.http_path: format"}},
		"query with a space":     {destination("http_path", "/?a b"), []string{"destination_config.http_path: format"}},
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
		"WebSockets and TCP":    {nats(map[string]any{"server_urls": []string{"nats://a", "WSS://b"}}), []string{"nats_config.server_urls: constraint"}},
		"server on port 65536":  {nats(map[string]any{"server_urls": []string{"nats://a", "nats://b:65536"}}), []string{"nats_config.server_urls: format"}},
		"endpoint on port 0":    {sqs(map[string]any{"endpoint": "https://sqs.example:0"}), []string{"sqs_config.endpoint: format"}},
		"queue: an empty port":  {sqs(map[string]any{"queue_url": "https://sqs.example:/1/q"}), []string{"sqs_config.queue_url: format"}},
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
				"name: format", "destination_config.http_method: constraint", "destination_config.http_path: format",
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

func TestCreate_RefusesABodyThatIsNotAnObject(t *testing.T) {
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

func TestTrigger_AnswersErrorMessageUnlessTransient(t *testing.T) {
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

// FuzzBody checks that a create and an update accept each body or name its faults. An update
// must accept the answer of each accepted create.
func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"name":"n","container_id":"` + containerID + `","cron_config":{"schedule":"* * * * *","headers":{"a":"b"}}}`))
	f.Add([]byte(`{"name":"n","container_id":"` + containerID + `","sqs_config":{"endpoint":"https://a","access_key_id":"b","secret_access_key":"c","queue_url":"https://d"}}`))
	f.Add([]byte(`{"name":"n","container_id":"` + containerID + `","nats_config":{"server_urls":["nats://a"],"subject":"a.>"}}`))
	f.Add([]byte(`{"tags":[null],"destination_config":{"http_path":"/%2e%2e"}}`))
	f.Add([]byte("{\"name\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		created, _, err := trigger.Create(body, triggerID, "fr-par", born)
		if err != nil {
			if apierr.From(err).Type != apierr.TypeInvalidArguments || len(faults(t, err)) == 0 {
				t.Fatalf("got %v", err)
			}
			return
		}
		created.Owner = auth.Owner{OrganizationID: "o", ProjectID: "p"}
		answer, err := json.Marshal(created)
		if err != nil {
			t.Fatalf("marshaling what was accepted: %v", err)
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

func TestCreate_BeginsEachHelpMessageWithItsField(t *testing.T) {
	t.Parallel()
	_, _, err := trigger.Create([]byte(`{"name":"n","container_id":"c","cron_config":{"schedule":"61 * * * *","timezone":"Europe/Atlantis"}}`), triggerID, "fr-par", born)
	var got []string
	for _, fault := range apierr.From(err).Details.([]apierr.Argument) {
		got = append(got, fault.Help)
	}
	equal(t, got, []string{
		"container_id must be a UUID, such as 8f5d9521-e950-41e0-b980-b85131050aff",
		"cron_config.schedule must be a UNIX cron schedule (minute: must be from 0 to 59, not 61)",
		"cron_config.timezone must be a name of the tz database, such as Europe/Paris",
	})
}
