// Package httpapi is the way from an API Gateway event to an operation and back.
// It authenticates the caller, checks the region and the body's outer form, and
// puts every answer and every error into the contract's form, with a request ID.
package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"containertriggers/shared/auth"
	"containertriggers/shared/awserr"
	"containertriggers/shared/check"
	"containertriggers/shared/fault"
)

const (
	// maxBody bounds a request's body, in bytes. Every legal trigger fits.
	maxBody = 256 << 10
	// maxAnswer bounds an answer, in bytes: Lambda refuses 6 MB and more.
	maxAnswer = 5 << 20
	// answerTime is what is kept of a function's time to answer when it runs out:
	// enough for a last look at whether a create took effect.
	answerTime = 3500 * time.Millisecond
)

// Regions are those that an API of this kind may have.
var Regions = []string{"fr-par", "nl-ams", "pl-waw"}

// Request is what an operation needs to know of the HTTP request.
type Request struct {
	Region string
	// ID is the path's resource ID in lower case, empty on a collection.
	ID    string
	Query url.Values
	Body  []byte
}

// Operation is one call of the API in two steps. Read runs while the caller is
// still being authenticated, so that its round trip costs no time of its own; it
// must change nothing. Do runs once the caller is known.
type Operation[T any] struct {
	// Resource is the contract's name for what the path's ID identifies; the
	// path's parameter is called the same with "_id" behind it.
	Resource string
	Read     func(context.Context, Request) (T, error)
	Do       func(context.Context, auth.Caller, Request, T) (any, error)
	// Elsewhere is the answer in a region that the deployment does not serve;
	// nil means that the region is not found.
	Elsewhere any
}

// Authenticator tells callers by their secret keys.
type Authenticator interface {
	Authenticate(ctx context.Context, secret string) (auth.Caller, error)
}

// Handler is a function behind API Gateway's HTTP API (payload format 2.0).
type Handler func(context.Context, events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error)

// New makes the handler of an operation in the regions that the deployment
// serves. The handler never gives an error: what goes wrong is answered.
func New[T any](authenticator Authenticator, served []string, op Operation[T]) Handler {
	return func(ctx context.Context, event events.APIGatewayV2HTTPRequest) (response events.APIGatewayV2HTTPResponse, _ error) {
		if deadline, ok := ctx.Deadline(); ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, deadline.Add(-answerTime))
			defer cancel()
		}
		defer func() {
			if panicked := recover(); panicked != nil {
				response = failure(ctx, event, fmt.Errorf("panic: %v\n%s", panicked, debug.Stack()))
			}
		}()
		answer, err := serve(ctx, authenticator, served, op, event)
		if err != nil {
			return failure(ctx, event, err), nil
		}
		return success(ctx, event, answer), nil
	}
}

func serve[T any](ctx context.Context, authenticator Authenticator, served []string, op Operation[T], event events.APIGatewayV2HTTPRequest) (any, error) {
	type authentication struct {
		caller auth.Caller
		err    error
	}
	authenticated := make(chan authentication, 1)
	go func() {
		caller, err := authenticator.Authenticate(ctx, event.Headers["x-auth-token"])
		authenticated <- authentication{caller, err}
	}()

	request, err := newRequest(event, op.Resource, served)
	var read T
	if err == nil && op.Read != nil {
		read, err = op.Read(ctx, request)
	}
	// Whoever is not known learns nothing of what was read, nor of its faults.
	who := <-authenticated
	if who.err != nil {
		return nil, who.err
	}
	if errors.Is(err, errElsewhere) && op.Elsewhere != nil {
		return op.Elsewhere, nil
	}
	if err != nil {
		return nil, err
	}
	return op.Do(ctx, who.caller, request, read)
}

// errElsewhere marks the fault of a known region that is not served.
var errElsewhere = errors.New("the region is not served by this deployment")

func newRequest(event events.APIGatewayV2HTTPRequest, resource string, served []string) (Request, error) {
	region := event.PathParameters["region"]
	if !slices.Contains(served, region) {
		err := error(fault.NotFound("region", region))
		if slices.Contains(Regions, region) {
			err = errors.Join(err, errElsewhere)
		}
		return Request{}, err
	}
	request := Request{Region: region}

	if id, ok := event.PathParameters[resource+"_id"]; ok {
		if request.ID, ok = check.CanonicalUUID(id); !ok {
			return request, fault.NotFound(resource, id)
		}
	}
	query, err := url.ParseQuery(event.RawQueryString)
	if err != nil {
		return request, fault.InvalidArgument("query", fault.Format, "must be a valid query string")
	}
	request.Query = query

	if method := event.RequestContext.HTTP.Method; method == http.MethodPost || method == http.MethodPatch {
		request.Body, err = readBody(event)
	}
	return request, err
}

func readBody(event events.APIGatewayV2HTTPRequest) ([]byte, error) {
	if media, _, err := mime.ParseMediaType(event.Headers["content-type"]); err != nil || media != "application/json" {
		refusal := fault.InvalidArgument("body", fault.Format, "must be JSON, with Content-Type: application/json")
		refusal.Status = http.StatusUnsupportedMediaType
		return nil, refusal
	}
	body := []byte(event.Body)
	if event.IsBase64Encoded {
		decoded, err := base64.StdEncoding.DecodeString(event.Body)
		if err != nil {
			return nil, fault.InvalidArgument("body", fault.Format, "must be a JSON object")
		}
		body = decoded
	}
	if len(body) > maxBody {
		refusal := fault.InvalidArgument("body", fault.Constraint, "must have at most "+strconv.Itoa(maxBody)+" bytes")
		refusal.Status = http.StatusRequestEntityTooLarge
		return nil, refusal
	}
	return body, nil
}

func success(ctx context.Context, event events.APIGatewayV2HTTPRequest, answer any) events.APIGatewayV2HTTPResponse {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(answer); err != nil {
		return failure(ctx, event, fmt.Errorf("encoding the answer: %w", err))
	}
	if body.Len() > maxAnswer {
		// Only a list can become that long.
		return failure(ctx, event, fault.InvalidArgument("page_size", fault.Constraint, "the page is larger than 5 MiB: ask for a smaller one"))
	}
	return respond(event, http.StatusOK, body.String())
}

func failure(ctx context.Context, event events.APIGatewayV2HTTPRequest, err error) events.APIGatewayV2HTTPResponse {
	told := fault.As(err)
	if told.Type == fault.TypeInternal {
		slog.ErrorContext(ctx, "request failed", "request_id", requestID(event), "route", event.RouteKey, "error", err)
		if awserr.Throttled(err) {
			told = fault.TooManyRequests(1)
		}
	}
	body, err := json.Marshal(told)
	if err != nil {
		panic(err) // a fault is made of strings
	}
	response := respond(event, told.Status, string(body))
	if told.RetryAfter > 0 {
		response.Headers["Retry-After"] = strconv.Itoa(told.RetryAfter)
	}
	return response
}

func respond(event events.APIGatewayV2HTTPRequest, status int, body string) events.APIGatewayV2HTTPResponse {
	return events.APIGatewayV2HTTPResponse{
		StatusCode: status,
		Headers:    map[string]string{"Content-Type": "application/json", "X-Request-Id": requestID(event)},
		Body:       strings.TrimSuffix(body, "\n"),
	}
}

// requestID is API Gateway's, under which its own logs have the request too.
func requestID(event events.APIGatewayV2HTTPRequest) string {
	return event.RequestContext.RequestID
}
