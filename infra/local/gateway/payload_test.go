package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/time/rate"
)

const triggers = "/containers/v1/regions/fr-par/triggers"

// The files hold what API Gateway sends for each of these requests. What another
// request cannot have alike (its ID, its time, the API's ID) is left out.
func TestGateway_SendsTheSameEventAsAPIGateway(t *testing.T) {
	t.Parallel()
	const one = triggers + "/8f5d9521-e950-41e0-b980-b85131050aff"
	host := "a1b2c3d4e5.execute-api.eu-west-3.amazonaws.com"
	known := http.Header{"X-Auth-Token": {"known"}, "Accept": {"*/*"}, "User-Agent": {"curl/8.5.0"}}
	with := func(name string, values ...string) http.Header {
		header := known.Clone()
		header[name] = values
		return header
	}
	for name, test := range map[string]struct {
		stage, basePath, host, method, target string
		header                                http.Header
		body                                  string
	}{
		"lower-case-names":          {"", "", host, "POST", triggers, with("Content-Type", "application/json; charset=utf-8"), `{"name":"é"}`},
		"doubled-query":             {"", "", host, "GET", triggers + "?page=1&page=2&order_by=name%5Fasc", known, ""},
		"doubled-header":            {"", "", host, "GET", triggers, with("X-Auth-Token", "known", "other"), ""},
		"cookies":                   {"", "", host, "GET", triggers, with("Cookie", "a=1; b=2"), ""},
		"form-is-base64":            {"", "", host, "POST", triggers, with("Content-Type", "application/x-www-form-urlencoded"), `{"name":"a"}`},
		"no-content-type-is-base64": {"", "", host, "POST", triggers, known, `{"name":"a"}`},
		"vendor-json-is-base64":     {"", "", host, "PATCH", one, with("Content-Type", "application/merge-patch+json"), `{"name":"a"}`},
		"stage":                     {"dev", "", host, "GET", "/dev" + one, known, ""},
		"custom-domain":             {"", "scheduling", "api.example.com", "DELETE", "/scheduling" + one, known, ""},
	} {
		var got, want map[string]any
		g := Gateway{
			Routes: []Route{
				{"GET", "/containers/v1/regions/{region}/triggers", "list"}, {"POST", "/containers/v1/regions/{region}/triggers", "create"},
				{"GET", "/containers/v1/regions/{region}/triggers/{trigger_id}", "get"},
				{"PATCH", "/containers/v1/regions/{region}/triggers/{trigger_id}", "update"},
				{"DELETE", "/containers/v1/regions/{region}/triggers/{trigger_id}", "delete"},
			},
			Stage: test.stage, BasePath: test.basePath,
			Invoke: func(_ context.Context, _ string, payload []byte) ([]byte, error) {
				return []byte(ok), json.Unmarshal(payload, &got)
			},
		}
		request := httptest.NewRequest(test.method, test.target, strings.NewReader(test.body))
		request.Host, request.Header = test.host, test.header
		recorder := httptest.NewRecorder()
		g.ServeHTTP(recorder, request)
		text, err := os.ReadFile("../../../shared/api/httpapi/testdata/apigateway/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		for _, event := range []map[string]any{got, want} {
			about, _ := event["requestContext"].(map[string]any)
			for _, own := range []string{"requestId", "time", "timeEpoch", "apiId", "authentication"} {
				delete(about, own)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: answered %d\n got %v\nwant %v", name, recorder.Code, got, want)
		}
	}
}

func TestGateway_RefusesRequestsLikeAPIGateway(t *testing.T) {
	t.Parallel()
	none := rate.NewLimiter(0, 0)
	for name, test := range map[string]struct {
		gateway Gateway
		target  string
		body    int
		status  int
		answer  string
	}{
		"over the rate":                  {Gateway{Limit: none}, triggers, 0, 429, "Too Many Requests"},
		"over API Gateway's 10 MB":       {Gateway{}, triggers, maxPayload + 1, 413, "Request Entity Too Large"},
		"an event over Lambda's 6 MB":    {Gateway{}, triggers, maxEvent, 413, "Request Entity Too Large"},
		"another stage":                  {Gateway{Stage: "dev"}, triggers, 0, 404, "Not Found"},
		"a stage that begins alike":      {Gateway{Stage: "dev"}, "/develop" + triggers, 0, 404, "Not Found"},
		"a domain without the base path": {Gateway{BasePath: "scheduling"}, triggers, 0, 404, "Not Found"},
	} {
		g := test.gateway
		g.Routes = []Route{{"POST", "/containers/v1/regions/{region}/triggers", "create"}}
		g.Invoke = func(context.Context, string, []byte) ([]byte, error) {
			t.Errorf("%s: the function is invoked", name)
			return []byte(ok), nil
		}
		request := httptest.NewRequest(http.MethodPost, test.target, strings.NewReader(strings.Repeat("x", test.body)))
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		g.ServeHTTP(recorder, request)
		if recorder.Code != test.status || recorder.Body.String() != `{"message":"`+test.answer+`"}` {
			t.Errorf("%s: got %d %s", name, recorder.Code, recorder.Body)
		}
	}
}
