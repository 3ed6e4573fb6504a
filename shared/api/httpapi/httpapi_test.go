package httpapi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/listing"
)

const id = "8f5d9521-e950-41e0-b980-b85131050aff"

// served are the settings of a deployment in one region.
var served = httpapi.Settings{Regions: []string{"fr-par"}}

// authenticator knows one key.
type authenticator struct{}

func (authenticator) Authenticate(_ context.Context, secret string) (auth.Principal, error) {
	if secret != "known" {
		return auth.Principal{}, apierr.DeniedAuthentication(apierr.DeniedNotFound)
	}
	return auth.Principal{OrganizationID: "o", AccessKey: "SCW"}, nil
}

func request(method, body string) events.APIGatewayV2HTTPRequest {
	event := events.APIGatewayV2HTTPRequest{
		Body: body, PathParameters: map[string]string{"region": "fr-par", "trigger_id": strings.ToUpper(id)},
		Headers: map[string]string{"x-auth-token": "known", "content-type": "application/json"},
	}
	event.RequestContext.RequestID = "request"
	event.RequestContext.HTTP.Method = method
	return event
}

// serve runs an operation that answers what it was asked.
func serve(t *testing.T, event events.APIGatewayV2HTTPRequest, op httpapi.Operation[httpapi.Request]) (int, string) {
	t.Helper()
	op.Resource = "trigger"
	if op.Read == nil {
		op.Read = func(_ context.Context, r httpapi.Request) (httpapi.Request, error) { return r, nil }
	}
	if op.Do == nil {
		op.Do = func(_ context.Context, _ auth.Principal, _ httpapi.Request, read httpapi.Request) (any, error) {
			return map[string]string{"id": read.ID, "body": string(read.Body), "query": read.Query.Encode()}, nil
		}
	}
	response, err := httpapi.New(authenticator{}, served, op)(t.Context(), event)
	if err != nil {
		t.Fatalf("the handler gives an error: %v", err)
	}
	if response.Headers["Content-Type"] != "application/json" || response.Headers["X-Request-Id"] != "request" {
		t.Errorf("got headers %v", response.Headers)
	}
	if !json.Valid([]byte(response.Body)) {
		t.Errorf("got the body %q", response.Body)
	}
	return response.StatusCode, response.Body
}

func TestNew_PassesTheRequestToTheOperation(t *testing.T) {
	t.Parallel()
	status, body := serve(t, request(http.MethodPatch, `{"a":"<b>"}`), httpapi.Operation[httpapi.Request]{})
	if want := `{"body":"{\"a\":\"<b>\"}","id":"` + id + `","query":""}`; status != 200 || body != want {
		t.Errorf("got %d %s", status, body)
	}
	event := request(http.MethodPost, base64.StdEncoding.EncodeToString([]byte("{}")))
	event.IsBase64Encoded = true
	if status, body := serve(t, event, httpapi.Operation[httpapi.Request]{}); status != 200 || !strings.Contains(body, `"body":"{}"`) {
		t.Errorf("base64: got %d %s", status, body)
	}
}

func TestRequest_MustNotBeCompressed(t *testing.T) {
	t.Parallel()
	for coding, want := range map[string]int{"gzip": 415, "br, gzip": 415, "identity": 200, "": 200} {
		event := request(http.MethodPost, "{}")
		event.Headers["content-encoding"] = coding
		status, body := serve(t, event, httpapi.Operation[httpapi.Request]{})
		if status != want || want == 415 && !strings.Contains(body, `[{"argument_name":"body","reason":"format","help_message":"body must not be compressed`) {
			t.Errorf("%q: got %d %s", coding, status, body)
		}
	}
}

func TestRequest_HoldsTheDeploymentsDomain(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{"": "api.example.com", "triggers.example": "triggers.example"} {
		event := request(http.MethodGet, "")
		event.RequestContext.DomainName = "api.example.com"
		settings := served
		settings.Domain = setting
		var got string
		_, err := httpapi.New(authenticator{}, settings, httpapi.Operation[int]{
			Resource: "trigger",
			Do: func(_ context.Context, _ auth.Principal, r httpapi.Request, _ int) (any, error) {
				got = r.Domain
				return nil, nil
			},
		})(t.Context(), event)
		if err != nil || got != want {
			t.Errorf("with the setting %q: got %q, %v, want %q", setting, got, err, want)
		}
	}
}

func TestHeader_IsFoundInAnyCase(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		headers map[string]string
		status  int
	}{
		"API Gateway":                    {map[string]string{"x-auth-token": "known", "content-type": "application/json"}, 200},
		"sam local start-api":            {map[string]string{"X-Auth-Token": "known", "Content-Type": "application/json"}, 200},
		"mixed":                          {map[string]string{"X-AUTH-TOKEN": "known", "content-Type": "application/json"}, 200},
		"two spellings are two values":   {map[string]string{"X-Auth-Token": "known", "x-auth-token": "other", "Content-Type": "application/json"}, 401},
		"two equal ones are two as well": {map[string]string{"X-Auth-Token": "known", "x-auth-token": "known", "Content-Type": "application/json"}, 401},
		"another name":                   {map[string]string{"X_Auth_Token": "known", "Content-Type": "application/json"}, 401},
		"no content type":                {map[string]string{"X-Auth-Token": "known"}, 415},
	} {
		event := request(http.MethodPost, "{}")
		event.Headers = test.headers
		if status, body := serve(t, event, httpapi.Operation[httpapi.Request]{}); status != test.status {
			t.Errorf("%s: got %d %s, want %d", name, status, body, test.status)
		}
	}
}

func TestNew_AnswersUnknownCallersOnlyWithTheDenial(t *testing.T) {
	t.Parallel()
	for name, event := range map[string]events.APIGatewayV2HTTPRequest{
		"of a resource":  request(http.MethodGet, ""),
		"of a body":      request(http.MethodPost, "{"),
		"of a region":    {PathParameters: map[string]string{"region": "it-mil"}},
		"of a bad query": {PathParameters: map[string]string{"region": "fr-par"}, RawQueryString: "%zz"},
	} {
		event.RequestContext.RequestID = "request"
		event.Headers = map[string]string{"x-auth-token": "other", "content-type": "text/plain"}
		status, body := serve(t, event, httpapi.Operation[httpapi.Request]{
			Read: func(context.Context, httpapi.Request) (httpapi.Request, error) {
				return httpapi.Request{}, apierr.NotFound("secret", "resource")
			},
			Do: func(context.Context, auth.Principal, httpapi.Request, httpapi.Request) (any, error) {
				t.Error("the operation ran")
				return nil, nil
			},
		})
		if status != http.StatusUnauthorized || strings.Contains(body, "secret") {
			t.Errorf("%s: got %d %s", name, status, body)
		}
	}
}

func TestNew_AnswersInternalErrorsWithoutTheirCause(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do     func() (any, error)
		status int
	}{
		"an error":           {func() (any, error) { return nil, errors.New("dial tcp 10.0.0.1: refused") }, 500},
		"a panic":            {func() (any, error) { panic("dial tcp 10.0.0.1: refused") }, 500},
		"a throttled call":   {func() (any, error) { return nil, &types.ProvisionedThroughputExceededException{} }, 429},
		"what has no JSON":   {func() (any, error) { return func() {}, nil }, 500},
		"too long an answer": {func() (any, error) { return strings.Repeat("x", 6<<20), nil }, 400},
	} {
		status, body := serve(t, request(http.MethodGet, ""), httpapi.Operation[httpapi.Request]{
			Do: func(context.Context, auth.Principal, httpapi.Request, httpapi.Request) (any, error) { return test.do() },
		})
		if status != test.status || strings.Contains(body, "10.0.0.1") || strings.Contains(body, "goroutine") {
			t.Errorf("%s: got %d %s", name, status, body)
		}
	}
}

func TestNew_CancelsTheOperationBeforeLambdaEndsTheFunction(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	limit, _ := ctx.Deadline()
	var deadline time.Time
	_, err := httpapi.New(authenticator{}, served, httpapi.Operation[int]{
		Resource: "trigger",
		Do: func(ctx context.Context, _ auth.Principal, _ httpapi.Request, _ int) (any, error) {
			deadline, _ = ctx.Deadline()
			return nil, nil
		},
	})(ctx, request(http.MethodGet, ""))
	if err != nil || !deadline.Before(limit) {
		t.Errorf("got deadline %v, %v", deadline, err)
	}
}

func TestNew_AnswersNotFoundInRegionsThatAreNotServed(t *testing.T) {
	t.Parallel()
	event := request(http.MethodGet, "")
	event.PathParameters = map[string]string{"region": "pl-waw"}
	status, body := serve(t, event, httpapi.Operation[httpapi.Request]{NotServed: map[string]int{"total_count": 0}})
	if status != 200 || body != `{"total_count":0}` {
		t.Errorf("a list: got %d %s", status, body)
	}
	if status, _ := serve(t, event, httpapi.Operation[httpapi.Request]{}); status != 404 {
		t.Errorf("anything else: got %d", status)
	}
	for region, want := range map[string]int{
		"it-mil": 200, "xx-newtown": 200, "ab-xyz": 200,
		"eu-west-1": 404, "xx": 404, "": 404, "FR-PAR": 404, "fr-par2": 404, "fr-par\n": 404, "fra-par": 404, "fr-pa": 404, "fr-parispar": 404,
	} {
		event.PathParameters["region"] = region
		status, body := serve(t, event, httpapi.Operation[httpapi.Request]{NotServed: 1})
		if status != want || want == 404 && !strings.Contains(body, `"resource":"region"`) {
			t.Errorf("a list in the region %q: got %d %s, want %d", region, status, body, want)
		}
	}
}

// FuzzPathAndQuery checks that no path parameter or query string is answered with
// anything but a 200 or the contract's 400 and 404.
func FuzzPathAndQuery(f *testing.F) {
	f.Add("fr-par", id, "page=1&order_by=name_asc&trigger_type=cron&project_id="+id)
	f.Add("pl-waw", "x", "page=0&page=1&page_size=101&container_id=%zz")
	f.Add("../fr-par", "\x00\xff", "a;b=%&&=;")
	handler := httpapi.New(authenticator{}, served, httpapi.Operation[listing.Query]{
		Resource: "trigger",
		Read: func(_ context.Context, r httpapi.Request) (listing.Query, error) {
			if r.ID != "" && r.ID != strings.ToLower(r.ID) {
				return listing.Query{}, errors.New("an ID in upper case")
			}
			return listing.Triggers(r.Region, r.Query)
		},
		Do: func(_ context.Context, _ auth.Principal, _ httpapi.Request, q listing.Query) (any, error) {
			if q.Page < 1 || q.PageSize < 1 || q.PageSize > 100 {
				return nil, errors.New("a page that there is not")
			}
			return q, nil
		},
	})
	f.Fuzz(func(t *testing.T, region, id, query string) {
		event := request(http.MethodGet, "")
		event.PathParameters = map[string]string{"region": region, "trigger_id": id}
		event.RawQueryString = query
		response, err := handler(t.Context(), event)
		if err != nil || !utf8.ValidString(response.Body) || !json.Valid([]byte(response.Body)) {
			t.Fatalf("got %v, %q", err, response.Body)
		}
		if response.StatusCode != 200 && response.StatusCode != 400 && response.StatusCode != 404 {
			t.Fatalf("%s %s %s: got %d %s", region, id, url.QueryEscape(query), response.StatusCode, response.Body)
		}
	})
}
