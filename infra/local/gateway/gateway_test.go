package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"containertriggers/infra/local/lambda"
)

// ask sends a request through a gateway whose function answers with answer.
func ask(t *testing.T, request *http.Request, answer string, failure error) (*httptest.ResponseRecorder, events.APIGatewayV2HTTPRequest) {
	t.Helper()
	var event events.APIGatewayV2HTTPRequest
	g := Gateway{
		Routes: []Route{{"GET", "/v1/{region}/things", "list"}, {"PATCH", "/v1/{region}/things/{id}", "update"}},
		Invoke: func(_ context.Context, _ string, payload []byte) ([]byte, error) {
			if err := json.Unmarshal(payload, &event); err != nil {
				t.Fatal(err)
			}
			return []byte(answer), failure
		},
	}
	recorder := httptest.NewRecorder()
	g.ServeHTTP(recorder, request)
	return recorder, event
}

const ok = `{"statusCode":201,"headers":{"X-A":"b"},"body":"done"}`

func TestGateway_SendsAnEventOfFormatTwo(t *testing.T) {
	t.Parallel()
	request := httptest.NewRequest(http.MethodPatch, "/v1/fr%2Dpar/things/a%2Fb?x=1&x=2&y=%20", strings.NewReader(`{"é":1}`))
	request.Header = http.Header{"X-Auth-Token": {"t"}, "Accept": {"a", "b"}, "Content-Type": {"application/json"}}
	request.Host = "example.com:8080"
	recorder, event := ask(t, request, ok, nil)
	if recorder.Code != 201 || recorder.Header().Get("X-A") != "b" || recorder.Body.String() != "done" {
		t.Errorf("got %d %v %s", recorder.Code, recorder.Header(), recorder.Body)
	}
	for name, got := range map[string][2]string{
		"version": {event.Version, "2.0"}, "route": {event.RouteKey, "PATCH /v1/{region}/things/{id}"},
		"path": {event.RawPath, "/v1/fr-par/things/a/b"}, "query": {event.RawQueryString, "x=1&x=2&y=%20"},
		"joined query": {event.QueryStringParameters["x"], "1,2"}, "region": {event.PathParameters["region"], "fr-par"},
		"ID": {event.PathParameters["id"], "a/b"}, "header": {event.Headers["x-auth-token"], "t"},
		"joined header": {event.Headers["accept"], "a,b"}, "host": {event.Headers["host"], "example.com:8080"}, "domain": {event.RequestContext.DomainName, "example.com"},
		"body": {event.Body, `{"é":1}`}, "method": {event.RequestContext.HTTP.Method, "PATCH"},
		"source": {event.RequestContext.HTTP.SourceIP, "192.0.2.1"}, "stage": {event.RequestContext.Stage, "$default"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: got %q, want %q", name, got[0], got[1])
		}
	}
	if event.RequestContext.RequestID == "" || event.IsBase64Encoded {
		t.Errorf("got %+v", event.RequestContext)
	}
	_, event = ask(t, httptest.NewRequest(http.MethodPatch, "/v1/r/things/i", strings.NewReader("\xff")), ok, nil)
	if event.Body != "/w==" || !event.IsBase64Encoded {
		t.Errorf("a binary body: got %q, %t", event.Body, event.IsBase64Encoded)
	}
}

func TestGateway_AnswersErrorsLikeAPIGateway(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method, path, answer string
		failure              error
		status               int
		message              string
	}{
		"unknown path":     {"GET", "/nowhere", ok, nil, 404, "Not Found"},
		"unknown method":   {"POST", "/v1/r/things", ok, nil, 404, "Not Found"},
		"one slash more":   {"GET", "/v1/r/things/", ok, nil, 404, "Not Found"},
		"empty parameter":  {"GET", "/v1//things", ok, nil, 404, "Not Found"},
		"function failure": {"GET", "/v1/r/things", "", errors.New("panic"), 500, "Internal Server Error"},
		"throttled":        {"GET", "/v1/r/things", "", &lambda.ThrottledError{}, 503, "Service Unavailable"},
		"no response":      {"GET", "/v1/r/things", "null", nil, 500, "Internal Server Error"},
		"broken base64":    {"GET", "/v1/r/things", `{"statusCode":200,"body":"%","isBase64Encoded":true}`, nil, 500, "Internal Server Error"},
	} {
		recorder, _ := ask(t, httptest.NewRequest(test.method, test.path, nil), test.answer, test.failure)
		if recorder.Code != test.status || recorder.Body.String() != `{"message":"`+test.message+`"}` {
			t.Errorf("%s: got %d %s", name, recorder.Code, recorder.Body)
		}
	}
	large := httptest.NewRequest(http.MethodPatch, "/v1/r/things/i", strings.NewReader(strings.Repeat("x", maxPayload+1)))
	if recorder, _ := ask(t, large, ok, nil); recorder.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: got %d", recorder.Code)
	}
}

func TestGateway_SendsUnmatchedRequestsToTheDefaultRoute(t *testing.T) {
	t.Parallel()
	var function string
	var event events.APIGatewayV2HTTPRequest
	g := Gateway{
		Routes: []Route{{"", DefaultPath, "default"}, {"GET", "/things/{id}", "get"}},
		Invoke: func(_ context.Context, name string, payload []byte) ([]byte, error) {
			function, event = name, events.APIGatewayV2HTTPRequest{}
			return []byte(ok), json.Unmarshal(payload, &event)
		},
	}
	for _, test := range []struct{ method, path, function, key string }{
		{"GET", "/things/a", "get", "GET /things/{id}"},
		{"HEAD", "/things/a", "default", "$default"},
		{"OPTIONS", "/things/a", "default", "$default"},
		{"GET", "/things/a/", "default", "$default"},
		{"GET", "/", "default", "$default"},
	} {
		g.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(test.method, test.path, nil))
		if function != test.function || event.RouteKey != test.key || event.RequestContext.RouteKey != test.key || event.RawPath != test.path {
			t.Errorf("%s %s: got %s with %s %s", test.method, test.path, function, event.RouteKey, event.RawPath)
		}
		if test.key == DefaultPath && event.PathParameters != nil {
			t.Errorf("%s %s: got the parameters %v", test.method, test.path, event.PathParameters)
		}
	}
}

func TestGateway_LetsPagesOfNamedOriginsCall(t *testing.T) {
	t.Parallel()
	const page, elsewhere = "https://console.example.com", "https://evil.example.com"
	cors := &CORS{AllowOrigins: []string{page}, AllowMethods: []string{"GET", "POST"}, AllowHeaders: []string{"X-Auth-Token"}, ExposeHeaders: []string{"X-Request-Id"}, MaxAge: 600}
	const answer = `{"statusCode":200,"headers":{"Access-Control-Allow-Origin":"of the function"}}`
	for name, test := range map[string]struct {
		cors             *CORS
		method, origin   string
		asks             bool // with Access-Control-Request-Method
		status           int
		allowed, methods string
	}{
		"a preflight":           {cors, "OPTIONS", page, true, 204, page, "GET,POST"},
		"a preflight elsewhere": {cors, "OPTIONS", elsewhere, true, 204, "", ""},
		"a call":                {cors, "GET", page, false, 200, page, ""},
		"a call elsewhere":      {cors, "GET", elsewhere, false, 200, "", ""},
		"a call of no page":     {cors, "GET", "", false, 200, "", ""},
		"OPTIONS, no preflight": {cors, "OPTIONS", page, false, 200, page, ""},
		"a preflight without":   {nil, "OPTIONS", page, true, 200, "of the function", ""},
		"a call without":        {nil, "GET", page, false, 200, "of the function", ""},
	} {
		g := Gateway{
			Routes: []Route{{"", DefaultPath, "default"}}, CORS: test.cors,
			Invoke: func(context.Context, string, []byte) ([]byte, error) { return []byte(answer), nil },
		}
		request := httptest.NewRequest(test.method, "/", nil)
		if test.origin != "" {
			request.Header.Set("Origin", test.origin)
		}
		if test.asks {
			request.Header.Set("Access-Control-Request-Method", "POST")
		}
		recorder := httptest.NewRecorder()
		g.ServeHTTP(recorder, request)
		got := recorder.Header()
		if recorder.Code != test.status || got.Get("Access-Control-Allow-Origin") != test.allowed || got.Get("Access-Control-Allow-Methods") != test.methods {
			t.Errorf("%s: got %d %v", name, recorder.Code, got)
		}
	}
}
