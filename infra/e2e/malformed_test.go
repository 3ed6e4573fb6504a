package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"
	"github.com/scaleway/scaleway-sdk-go/scw"
)

// argument is how a fault of an argument looks in an answer.
func argument(name, reason string) string {
	return fmt.Sprintf(`{"argument_name":%q,"reason":%q,"help_message":`, name, reason)
}

func TestAPI_AnswersMalformedRequestsInTheContractsForm(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const jsonType = "application/json"
	existing := b.createCron("there", "@daily", "UTC")
	b.wait(existing.ID)
	before, err := b.api.GetTrigger(&container.GetTriggerRequest{TriggerID: existing.ID})
	if err != nil {
		t.Fatal(err)
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	list := func(n int, element string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
	}
	// trigger is a create with a field changed or added, cron one with such a config.
	valid := map[string]string{"name": `"n"`, "container_id": `"` + b.containerID + `"`, "cron_config": `{"schedule":"@daily"}`}
	trigger := func(field string) string {
		text := "{" + field
		for name, value := range valid {
			if !strings.HasPrefix(field, `"`+name+`":`) {
				text += `,"` + name + `":` + value
			}
		}
		return text + "}"
	}
	cron := func(config string) string { return trigger(`"cron_config":` + config) }
	sqs := func(config string) string {
		return fmt.Sprintf(`{"name":"n","container_id":%q,"sqs_config":%s}`, b.containerID, config)
	}
	nats := func(config string) string {
		return fmt.Sprintf(`{"name":"n","container_id":%q,"nats_config":%s}`, b.containerID, config)
	}
	headers := func(n, size int) string {
		var text []string
		for i := range n {
			text = append(text, fmt.Sprintf(`"X-%d":"%s"`, i, long(size)))
		}
		return `{"schedule":"@daily","headers":{` + strings.Join(text, ",") + `}}`
	}
	const post, get, patch, del = http.MethodPost, http.MethodGet, http.MethodPatch, http.MethodDelete
	const bad, format, constraint, required = "invalid_arguments", "format", "constraint", "required"
	type row struct {
		method, path, body, contentType string
		status                          int
		kind, more                      string
	}
	creates := func(body, name, reason string) row {
		return row{post, "/triggers", body, jsonType, 400, bad, argument(name, reason)}
	}
	updates := func(body, name, reason string) row {
		return row{patch, "/triggers/" + existing.ID, body, jsonType, 400, bad, argument(name, reason)}
	}
	lists := func(query, name, reason string) row {
		return row{get, "/triggers?" + query, "", jsonType, 400, bad, argument(name, reason)}
	}
	missing := func(method, path, resource string) row {
		return row{method, path, "{}", jsonType, 404, "not_found", `"resource":"` + resource + `"`}
	}
	table := map[string]row{
		// Paths.
		"malformed trigger ID":        missing(get, "/triggers/xyz", "trigger"),
		"unknown trigger":             missing(get, "/triggers/"+uuid.NewString(), "trigger"),
		"escaped trigger ID":          missing(del, "/triggers/%00%ff", "trigger"),
		"an ID in braces":             missing(get, "/triggers/%7B"+uuid.NewString()+"%7D", "trigger"),
		"an ID without dashes":        missing(get, "/triggers/"+strings.ReplaceAll(existing.ID, "-", ""), "trigger"),
		"an ID with a space":          missing(get, "/triggers/"+existing.ID+"%20", "trigger"),
		"an escaped slash":            missing(get, "/triggers/"+existing.ID+"%2Fx", "trigger"),
		"a very long ID":              missing(get, "/triggers/"+long(8000), "trigger"),
		"malformed container ID":      missing(get, "/containers/..%2f", "container"),
		"a container in place of one": missing(get, "/triggers/"+b.containerID, "trigger"),
		"patch of nothing":            missing(patch, "/triggers/"+uuid.NewString(), "trigger"),
		// Bodies.
		"no body":             creates("", "body", format),
		"white space":         creates("  \n", "body", format),
		"broken JSON":         creates(`{"a`, "body", format),
		"two objects":         creates(trigger(`"description":""`)+"{}", "body", format),
		"a list":              creates(`[]`, "body", format),
		"null":                creates(`null`, "body", format),
		"a string":            creates(`"{}"`, "body", format),
		"a comment":           creates(`{"name":"n"/**/}`, "body", format),
		"deep lists":          creates(strings.Repeat("[", 50_000), "body", format),
		"deep objects":        creates(strings.Repeat(`{"a":`, 20_000)+"1"+strings.Repeat("}", 20_000), "body", format),
		"depth in an unknown": creates(trigger(`"unknown":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)), "body", format),
		"not UTF-8":           creates("{\"name\":\"\xff\"}", "body", format),
		"UTF-16":              creates("\xff\xfe{\x00}\x00", "body", format),
		"a name twice":        creates(`{"name":"n","name":"m"}`, "body", format),
		"a byte order mark":   creates("\ufeff{}", "body", format),
		"gzip":                creates("\x1f\x8b\x08\x00", "body", format),
		"too large":           {post, "/triggers", `{"name":"` + long(300<<10) + `"}`, jsonType, 413, bad, argument("body", constraint)},
		"a form":              {post, "/triggers", "a=b", "application/x-www-form-urlencoded", 415, bad, argument("body", format)},
		"no content type":     {post, "/triggers", "{}", "", 415, bad, argument("body", format)},
		"a malformed type":    {post, "/triggers", "{}", "application/json; charset", 415, bad, argument("body", format)},
		// Fields.
		"nothing given":            {post, "/triggers", "{}", jsonType, 400, bad, argument("name", required)},
		"a name of a wrong type":   creates(trigger(`"name":5`), "name", format),
		"a name with a line feed":  creates(trigger(`"name":"a\nb"`), "name", constraint),
		"a name that is too long":  creates(trigger(`"name":"`+long(129)+`"`), "name", constraint),
		"a long description":       creates(trigger(`"description":"`+long(1025)+`"`), "description", constraint),
		"too many tags":            creates(trigger(`"tags":`+list(101, `"t"`)), "tags", constraint),
		"a long tag":               creates(trigger(`"tags":["`+long(257)+`"]`), "tags", constraint),
		"a tag that is null":       creates(trigger(`"tags":[null]`), "tags", format),
		"tags in an object":        creates(trigger(`"tags":{"a":"b"}`), "tags", format),
		"a container of no ID":     creates(trigger(`"container_id":"c"`), "container_id", format),
		"two sources":              creates(trigger(`"nats_config":{"server_urls":["nats://n"],"subject":"s"}`), "nats_config", constraint),
		"no source":                creates(fmt.Sprintf(`{"name":"n","container_id":%q}`, b.containerID), "cron_config", required),
		"a method in capitals":     creates(trigger(`"destination_config":{"http_method":"POST"}`), "destination_config.http_method", constraint),
		"a method that is none":    creates(trigger(`"destination_config":{"http_method":"connect"}`), "destination_config.http_method", constraint),
		"a path with a host":       creates(trigger(`"destination_config":{"http_path":"//evil.test/"}`), "destination_config.http_path", format),
		"a path with a scheme":     creates(trigger(`"destination_config":{"http_path":"http://evil.test/"}`), "destination_config.http_path", format),
		"a path that climbs":       creates(trigger(`"destination_config":{"http_path":"/a/%2e%2e/b"}`), "destination_config.http_path", constraint),
		"a path with a line feed":  creates(trigger(`"destination_config":{"http_path":"/a\r\nX: 1"}`), "destination_config.http_path", format),
		"a path with a fragment":   creates(trigger(`"destination_config":{"http_path":"/a#b"}`), "destination_config.http_path", format),
		"a path too long":          creates(trigger(`"destination_config":{"http_path":"/`+long(2048)+`"}`), "destination_config.http_path", constraint),
		"a schedule of four":       creates(cron(`{"schedule":"* * * *"}`), "cron_config.schedule", format),
		"a schedule of AWS":        creates(cron(`{"schedule":"cron(0 0 1 * ? *)"}`), "cron_config.schedule", format),
		"a minute beyond":          creates(cron(`{"schedule":"60 * * * *"}`), "cron_config.schedule", format),
		"an endless schedule":      creates(cron(`{"schedule":"`+strings.Repeat("1,", 50_000)+`1 * * * *"}`), "cron_config.schedule", format),
		"a zone that is a path":    creates(cron(`{"schedule":"@daily","timezone":"../../etc/passwd"}`), "cron_config.timezone", format),
		"the machine's own zone":   creates(cron(`{"schedule":"@daily","timezone":"Local"}`), "cron_config.timezone", format),
		"too many headers":         creates(cron(headers(65, 1)), "cron_config.headers", constraint),
		"too large headers":        creates(cron(headers(5, 4000)), "cron_config.headers", constraint),
		"a zone that is a file":    creates(cron(`{"schedule":"@daily","timezone":"America//New_York"}`), "cron_config.timezone", format),
		"a header in two cases":    creates(cron(`{"schedule":"@daily","headers":{"X":"a","x":"b"}}`), "cron_config.headers", constraint),
		"a header that forges":     creates(cron(`{"schedule":"@daily","headers":{"X":"a\r\nY: b"}}`), "cron_config.headers", format),
		"a header's name is none":  creates(cron(`{"schedule":"@daily","headers":{"X Y":"a"}}`), "cron_config.headers", format),
		"a header that is a list":  creates(cron(`{"schedule":"@daily","headers":{"X":["a"]}}`), "cron_config.headers", format),
		"a body too large":         creates(cron(`{"schedule":"@daily","body":"`+long(65<<10)+`"}`), "cron_config.body", constraint),
		"an AWS region":            creates(sqs(`{"region":"eu-west-3","endpoint":"https://e","queue_url":"https://q","access_key_id":"a","secret_access_key":"s"}`), "sqs_config.region", format),
		"a queue's endpoint":       creates(sqs(`{"endpoint":"ftp://e","queue_url":"https://q","access_key_id":"a","secret_access_key":"s"}`), "sqs_config.endpoint", format),
		"a password in a URL":      creates(sqs(`{"endpoint":"https://u:p@e","queue_url":"https://q","access_key_id":"a","secret_access_key":"s"}`), "sqs_config.endpoint", constraint),
		"a key with a line feed":   creates(sqs(`{"endpoint":"https://e","queue_url":"https://q","access_key_id":"a\n","secret_access_key":"s"}`), "sqs_config.access_key_id", format),
		"a key that is missing":    creates(sqs(`{"endpoint":"https://e","queue_url":"https://q","access_key_id":"a"}`), "sqs_config.secret_access_key", required),
		"no server":                creates(nats(`{"server_urls":[],"subject":"s"}`), "nats_config.server_urls", constraint),
		"six servers":              creates(nats(`{"server_urls":`+list(6, `"nats://n"`)+`,"subject":"s"}`), "nats_config.server_urls", constraint),
		"a server of another kind": creates(nats(`{"server_urls":["http://n"],"subject":"s"}`), "nats_config.server_urls", format),
		"a subject with a space":   creates(nats(`{"server_urls":["nats://n"],"subject":"a b"}`), "nats_config.subject", format),
		"a wildcard in a word":     creates(nats(`{"server_urls":["nats://n"],"subject":"a.b*"}`), "nats_config.subject", format),
		"credentials too large":    creates(nats(`{"server_urls":["nats://n"],"subject":"s","credentials_file_content":"`+long(4097)+`"}`), "nats_config.credentials_file_content", constraint),
		"another source's config":  updates(`{"sqs_config":{"endpoint":"https://e"}}`, "sqs_config", constraint),
		"an empty name":            updates(`{"name":""}`, "name", constraint),
		"two cases of a header":    updates(`{"cron_config":{"headers":{"X":"a","x":"b"}}}`, "cron_config.headers", constraint),
		"an empty schedule":        updates(`{"cron_config":{"schedule":""}}`, "cron_config.schedule", constraint),
		"an update that is a list": updates(`[]`, "body", format),
		// Queries.
		"page 0":               lists("page=0", "page", constraint),
		"a negative page":      lists("page=-1", "page", constraint),
		"a page that is none":  lists("page=1.5", "page", format),
		"an enormous page":     lists("page=99999999999999999999", "page", format),
		"a large page":         lists("page_size=101", "page_size", constraint),
		"an order that is not": lists("order_by=id", "order_by", constraint),
		"a parameter twice":    lists("project_id="+b.organization+"&project_id="+uuid.NewString(), "project_id", constraint),
		"a filter of no ID":    lists("container_id=%00", "container_id", format),
		"not UTF-8 in a query": lists("project_id=%ff%fe", "project_id", format),
		"a broken escape":      lists("page=%zz", "query", format),
		"a type that is not":   lists("trigger_type=kafka", "trigger_type", constraint),
		"page and order":       lists("page=0&order_by=x", "order_by", constraint),
		// What is refused for other reasons.
		"unknown container":          {post, "/triggers", `{"name":"n","container_id":"` + uuid.NewString() + `","cron_config":{"schedule":"@daily"}}`, jsonType, 404, "not_found", `"resource":"container"`},
		"container without URL":      {post, "/containers", `{"name":"n","timeout":"1h","privacy":"x","project_id":"p"}`, jsonType, 400, bad, argument("public_endpoint", required)},
		"container elsewhere":        {post, "/containers", `{"name":"n","public_endpoint":"https://e.example","organization_id":"` + uuid.NewString() + `"}`, jsonType, 403, "permissions_denied", ""},
		"a container's fragment":     {post, "/containers", `{"name":"n","public_endpoint":"https://e.example/#x"}`, jsonType, 400, bad, argument("public_endpoint", constraint)},
		"a container that is a file": {post, "/containers", `{"name":"n","public_endpoint":"file:///etc/passwd"}`, jsonType, 400, bad, argument("public_endpoint", format)},
		"charset":                    {post, "/containers", `{"name":"n","public_endpoint":"https://e.example"}`, "application/json; charset=utf-8", 200, "", `"timeout":"300s"`},
	}
	if len(table) < 60 {
		t.Errorf("only %d requests", len(table))
	}
	for name, test := range table {
		t.Run(name, func(t *testing.T) {
			r := b.do(test.method, regional+test.path, test.body, map[string]string{"Content-Type": test.contentType})
			kind, _ := r.body["type"].(string)
			if r.status != test.status || kind != test.kind || !strings.Contains(r.text, test.more) {
				t.Errorf("got %d %.400s\nwant %d %s %s", r.status, r.text, test.status, test.kind, test.more)
			}
			if details, _ := r.body["details"].([]any); strings.Contains(r.text, `"argument_name":"body"`) && len(details) != 1 {
				t.Errorf("got more faults than that of the body: %.400s", r.text)
			}
			if r.header.Get("Content-Type") != jsonType || r.header.Get("X-Request-Id") == "" {
				t.Errorf("got headers %v", r.header)
			}
			if len(r.text) > 20<<10 {
				t.Errorf("the answer has %d bytes", len(r.text))
			}
		})
	}
	left, err := b.api.ListTriggers(&container.ListTriggersRequest{}, scw.WithAllPages())
	if err != nil || left.TotalCount != 1 {
		t.Errorf("something half-made is left: %+v, %v", left, err)
	}
	after, err := b.api.GetTrigger(&container.GetTriggerRequest{TriggerID: existing.ID})
	if err != nil || !after.UpdatedAt.Equal(*before.UpdatedAt) || after.Status != before.Status {
		t.Errorf("a refused update changed something: %+v, %v", after, err)
	}
}

// What no HTTP client would send.
func TestAPI_SurvivesInvalidHTTP(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, text := range []string{
		"\x00\x01\x02\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "POST " + regional + "/triggers HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{",
		"GET " + regional + "/triggers HTTP/1.1\r\n\r\n", "POST " + regional + "/triggers HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	} {
		connection, err := net.Dial("tcp", strings.TrimPrefix(b.APIURL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = connection.SetDeadline(time.Now().Add(2 * time.Second))
		fmt.Fprint(connection, text)
		_, _ = connection.Read(make([]byte, 100))
		connection.Close()
	}
	if r := b.do(http.MethodGet, regional+"/triggers", "", nil); r.status != http.StatusOK {
		t.Errorf("got %d %s", r.status, r.text)
	}
}

// TestAPI_ThrottlesTooManyRequests has a cloud of its own, whose API takes few.
func TestAPI_ThrottlesTooManyRequests(t *testing.T) {
	t.Parallel()
	w := prepare(0)
	w.Parameters = map[string]string{"ApiRate": "1", "ApiBurst": "5"}
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := setupIn(t, w)
	const requests = 12
	answers := make([]response, requests)
	atOnce(requests, func(i int) { answers[i] = b.do(http.MethodGet, regional+"/triggers", "", nil) })
	taken, throttled := 0, 0
	for _, r := range answers {
		switch r.status {
		case http.StatusOK:
			taken++
		case http.StatusTooManyRequests:
			throttled++
		default:
			t.Errorf("got %d %s", r.status, r.text)
		}
	}
	if taken == 0 || throttled == 0 {
		t.Errorf("%d were taken, %d throttled", taken, throttled)
	}
	b.eventually("later ones are taken", func() bool { return b.do(http.MethodGet, regional+"/triggers", "", nil).status == http.StatusOK })
}
