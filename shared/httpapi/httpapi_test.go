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

	"containertriggers/shared/auth"
	"containertriggers/shared/fault"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/listing"
)

const id = "8f5d9521-e950-41e0-b980-b85131050aff"

// authenticator knows one key.
type authenticator struct{}

func (authenticator) Authenticate(_ context.Context, secret string) (auth.Caller, error) {
	if secret != "known" {
		return auth.Caller{}, fault.DeniedAuthentication(fault.DeniedNotFound)
	}
	return auth.Caller{OrganizationID: "o"}, nil
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
		op.Do = func(_ context.Context, _ auth.Caller, _ httpapi.Request, read httpapi.Request) (any, error) {
			return map[string]string{"id": read.ID, "body": string(read.Body)}, nil
		}
	}
	response, err := httpapi.New(authenticator{}, []string{"fr-par"}, op)(t.Context(), event)
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

func TestOperationGetsWhatTheRequestSays(t *testing.T) {
	t.Parallel()
	status, body := serve(t, request(http.MethodPatch, `{"a":"<b>"}`), httpapi.Operation[httpapi.Request]{})
	if want := `{"body":"{\"a\":\"<b>\"}","id":"` + id + `"}`; status != 200 || body != want {
		t.Errorf("got %d %s", status, body)
	}
	event := request(http.MethodPost, base64.StdEncoding.EncodeToString([]byte("{}")))
	event.IsBase64Encoded = true
	if status, body := serve(t, event, httpapi.Operation[httpapi.Request]{}); status != 200 || !strings.Contains(body, `"body":"{}"`) {
		t.Errorf("base64: got %d %s", status, body)
	}
}

func TestWhoIsNotKnownLearnsNothingOfWhatWasRead(t *testing.T) {
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
				return httpapi.Request{}, fault.NotFound("secret", "resource")
			},
			Do: func(context.Context, auth.Caller, httpapi.Request, httpapi.Request) (any, error) {
				t.Error("the operation ran")
				return nil, nil
			},
		})
		if status != http.StatusUnauthorized || strings.Contains(body, "secret") {
			t.Errorf("%s: got %d %s", name, status, body)
		}
	}
}

func TestCausesOfFailuresAreNotTold(t *testing.T) {
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
			Do: func(context.Context, auth.Caller, httpapi.Request, httpapi.Request) (any, error) { return test.do() },
		})
		if status != test.status || strings.Contains(body, "10.0.0.1") || strings.Contains(body, "goroutine") {
			t.Errorf("%s: got %d %s", name, status, body)
		}
	}
}

func TestOperationIsToldToStopBeforeLambdaEndsIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	limit, _ := ctx.Deadline()
	var deadline time.Time
	_, err := httpapi.New(authenticator{}, []string{"fr-par"}, httpapi.Operation[int]{
		Resource: "trigger",
		Do: func(ctx context.Context, _ auth.Caller, _ httpapi.Request, _ int) (any, error) {
			deadline, _ = ctx.Deadline()
			return nil, nil
		},
	})(ctx, request(http.MethodGet, ""))
	if err != nil || !deadline.Before(limit) {
		t.Errorf("got deadline %v, %v", deadline, err)
	}
}

func TestRegionThatIsNotServedHasNothing(t *testing.T) {
	t.Parallel()
	event := request(http.MethodGet, "")
	event.PathParameters = map[string]string{"region": "pl-waw"}
	status, body := serve(t, event, httpapi.Operation[httpapi.Request]{Elsewhere: map[string]int{"total_count": 0}})
	if status != 200 || body != `{"total_count":0}` {
		t.Errorf("a list: got %d %s", status, body)
	}
	if status, _ := serve(t, event, httpapi.Operation[httpapi.Request]{}); status != 404 {
		t.Errorf("anything else: got %d", status)
	}
	event.PathParameters["region"] = "it-mil"
	if status, _ := serve(t, event, httpapi.Operation[httpapi.Request]{Elsewhere: 1}); status != 404 {
		t.Errorf("a list in an unknown region: got %d", status)
	}
}

// FuzzPathAndQuery checks that no path parameter or query string is answered with
// anything but a 200 or the contract's 400 and 404.
func FuzzPathAndQuery(f *testing.F) {
	f.Add("fr-par", id, "page=1&order_by=name_asc&trigger_type=cron&project_id="+id)
	f.Add("pl-waw", "x", "page=0&page=1&page_size=101&container_id=%zz")
	f.Add("../fr-par", "\x00\xff", "a;b=%&&=;")
	handler := httpapi.New(authenticator{}, []string{"fr-par"}, httpapi.Operation[listing.Query]{
		Resource: "trigger",
		Read: func(_ context.Context, r httpapi.Request) (listing.Query, error) {
			if r.ID != "" && r.ID != strings.ToLower(r.ID) {
				return listing.Query{}, errors.New("an ID in upper case")
			}
			return listing.Triggers(r.Region, r.Query)
		},
		Do: func(_ context.Context, _ auth.Caller, _ httpapi.Request, q listing.Query) (any, error) {
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
