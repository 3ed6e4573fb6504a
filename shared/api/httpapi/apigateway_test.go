package httpapi_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"containertriggers/shared/api/httpapi"
)

// The events are as API Gateway sends them (Developer Guide, "Create AWS Lambda
// proxy integrations for HTTP APIs"); the local gateway's test makes the same ones
// from requests.
func TestEventOfAPIGateway_IsServed(t *testing.T) {
	t.Parallel()
	want := map[string]struct {
		status int
		answer string
	}{
		"lower-case-names":          {200, `"body":"{\"name\":\"é\"}"`},
		"doubled-query":             {200, `"query":"order_by=name_asc&page=1&page=2"`},
		"doubled-header":            {401, "denied_authentication"}, // two keys are no key
		"cookies":                   {200, `"id":""`},
		"form-is-base64":            {415, "application/json"},
		"no-content-type-is-base64": {415, "application/json"},
		"vendor-json-is-base64":     {415, "application/json"},
		"stage":                     {200, `"id":"` + id + `"`},
		"custom-domain":             {200, `"id":"` + id + `"`},
	}
	files, err := filepath.Glob("testdata/apigateway/*.json")
	if err != nil || len(files) != len(want) {
		t.Fatalf("got %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var event events.APIGatewayV2HTTPRequest
		if err := json.Unmarshal(text, &event); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		event.RequestContext.RequestID = "request"
		expected := want[strings.TrimSuffix(filepath.Base(file), ".json")]
		status, body := serve(t, event, httpapi.Operation[httpapi.Request]{})
		if status != expected.status || !strings.Contains(body, expected.answer) {
			t.Errorf("%s: got %d %s, want %d %s", file, status, body, expected.status, expected.answer)
		}
	}
}
