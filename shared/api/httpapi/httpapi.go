// Package httpapi runs an operation of the API for an event of API Gateway. It
// authenticates the caller, and checks the region, the path and the form of the body. It
// returns every answer and every error in the form of the contract, with a request ID.
package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/platform/awserr"
)

const (
	// maxBody limits the body of a request, in bytes. Every valid trigger fits.
	maxBody = 256 << 10
	// maxAnswer limits an answer, in bytes. Lambda refuses answers of 6 MB and more.
	maxAnswer = 5 << 20
	// answerTime is the part of a function's time that an operation cannot use. It is enough
	// to check whether a create took effect, and to answer.
	answerTime = 3500 * time.Millisecond
)

// Request is an HTTP request as an operation needs it.
type Request struct {
	Region string
	// Domain is the deployment's domain, for the srn of an answer.
	Domain string
	// At is the time of the request.
	At time.Time
	// ID is the resource ID in the path, in the form of [Operation.ID]. It is empty for a
	// collection.
	ID    string
	Query url.Values
	Body  []byte
}

// Operation is an operation of the API in two steps. Read runs during the authentication,
// so that the two round trips overlap. It must change nothing, because the caller may be
// refused. Do runs after the authentication and returns the answer.
type Operation[T any] struct {
	// Resource is the contract's name for the kind of resource, such as "trigger". The ID is
	// the path's parameter with that name and "_id".
	Resource string
	// ID returns the canonical form of an ID in the path, or false if it cannot be one. If it
	// is nil, an ID is a UUID.
	ID   func(string) (string, bool)
	Read func(context.Context, Request) (T, error)
	Do   func(context.Context, auth.Principal, Request, T) (any, error)
	// NotServed is the answer for a well-formed region that the deployment does not serve. If
	// it is nil, the operation answers not_found.
	NotServed any
	// ReadOnly is true if the operation changes nothing although its method is POST.
	ReadOnly bool
}

// Authenticator finds callers by their secret keys. The error is an *apierr.Error if it
// denies a key.
type Authenticator interface {
	Authenticate(ctx context.Context, secret string) (auth.Principal, error)
}

// Handler handles events of API Gateway's HTTP API (payload format 2.0).
type Handler func(context.Context, events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error)

// New returns the handler that runs an operation.
func New[T any](authenticator Authenticator, settings Settings, op Operation[T]) Handler {
	return Answer(func(ctx context.Context, event events.APIGatewayV2HTTPRequest) (any, error) {
		return serve(ctx, authenticator, settings, op, event)
	})
}

// Answer returns the handler that answers the value or the error of a function, in the form
// of the contract. The handler never returns an error. It also answers panics.
func Answer(answer func(context.Context, events.APIGatewayV2HTTPRequest) (any, error)) Handler {
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
		answered, err := answer(ctx, event)
		if err != nil {
			return failure(ctx, event, err), nil
		}
		return success(ctx, event, answered), nil
	}
}

// serve authenticates the caller, runs the operation and returns its answer.
func serve[T any](ctx context.Context, authenticator Authenticator, settings Settings, op Operation[T], event events.APIGatewayV2HTTPRequest) (any, error) {
	type authentication struct {
		caller auth.Principal
		err    error
	}
	authenticated := make(chan authentication, 1)
	go func() {
		caller, err := authenticator.Authenticate(ctx, header(event, "x-auth-token"))
		authenticated <- authentication{caller, err}
	}()

	canonical := op.ID
	if canonical == nil {
		canonical = request.CanonicalUUID
	}
	asked, err := newRequest(event, op.Resource, canonical, settings)
	var read T
	if err == nil && op.Read != nil {
		read, err = op.Read(ctx, asked)
	}
	// An unknown caller learns nothing about the resource or the faults of the request.
	authentic := <-authenticated
	if authentic.err != nil {
		return nil, authentic.err
	}
	if errors.Is(err, errRegionNotServed) && op.NotServed != nil {
		return op.NotServed, nil
	}
	if err != nil {
		return nil, err
	}
	answer, err := op.Do(ctx, authentic.caller, asked, read)
	if err == nil && !op.ReadOnly && event.RequestContext.HTTP.Method != http.MethodGet {
		slog.InfoContext(ctx, "changed", "request_id", requestID(event), "route", event.RouteKey, "resource", op.Resource,
			"id", idOf(asked, answer), "organization_id", authentic.caller.OrganizationID, "access_key", authentic.caller.AccessKey)
	}
	return answer, err
}

// idOf returns the ID of the resource that a request is about or has created.
func idOf(asked Request, answer any) string {
	if created, ok := answer.(interface{ ResourceID() string }); ok && asked.ID == "" {
		return created.ResourceID()
	}
	return asked.ID
}

// errRegionNotServed marks the error for a well-formed region that is not served.
var errRegionNotServed = errors.New("the region is not served by this deployment")

// newRequest returns the request of an event. The error is an *apierr.Error that the region,
// the ID, the query or the body causes.
func newRequest(event events.APIGatewayV2HTTPRequest, resource string, canonical func(string) (string, bool), settings Settings) (Request, error) {
	region := event.PathParameters["region"]
	if !slices.Contains(settings.Regions, region) {
		err := error(apierr.NotFound("region", region))
		if request.Region(region) {
			err = errors.Join(err, errRegionNotServed)
		}
		return Request{}, err
	}
	r := Request{Region: region, Domain: settings.DomainOf(event), At: time.Now()}

	if id, ok := event.PathParameters[resource+"_id"]; ok {
		if r.ID, ok = canonical(id); !ok {
			return r, apierr.NotFound(resource, id)
		}
	}
	query, err := url.ParseQuery(event.RawQueryString)
	if err != nil {
		return r, apierr.InvalidArgument("query", apierr.Format, "must be a valid query string, percent-encoded")
	}
	r.Query = query

	if method := event.RequestContext.HTTP.Method; method == http.MethodPost || method == http.MethodPatch {
		r.Body, err = readBody(event)
	}
	return r, err
}

// header returns a header by its name in lower case. API Gateway sends names in lower case,
// but `sam local start-api` sends them as the client wrote them. If a name has several
// spellings, header joins their values as API Gateway does.
func header(event events.APIGatewayV2HTTPRequest, name string) string {
	var values []string
	for _, spelled := range slices.Sorted(maps.Keys(event.Headers)) {
		if strings.ToLower(spelled) == name {
			values = append(values, event.Headers[spelled])
		}
	}
	return strings.Join(values, ",")
}

// readBody returns the decoded body. It returns an error if the body is too large, is
// compressed or has another content type.
func readBody(event events.APIGatewayV2HTTPRequest) ([]byte, error) {
	if media, _, err := mime.ParseMediaType(header(event, "content-type")); err != nil || media != "application/json" {
		refusal := apierr.InvalidArgument("body", apierr.Format, "must be JSON with the header Content-Type: application/json")
		refusal.Status = http.StatusUnsupportedMediaType
		return nil, refusal
	}
	if coding := header(event, "content-encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		refusal := apierr.InvalidArgument("body", apierr.Format, fmt.Sprintf("must not be compressed, but has the header Content-Encoding: %.64q", coding))
		refusal.Status = http.StatusUnsupportedMediaType
		return nil, refusal
	}
	body := []byte(event.Body)
	if event.IsBase64Encoded {
		decoded, err := base64.StdEncoding.DecodeString(event.Body)
		if err != nil {
			return nil, apierr.InvalidArgument("body", apierr.Format, "must be a JSON object")
		}
		body = decoded
	}
	if len(body) > maxBody {
		refusal := apierr.InvalidArgument("body", apierr.Constraint, "must have at most "+strconv.Itoa(maxBody)+" bytes")
		refusal.Status = http.StatusRequestEntityTooLarge
		return nil, refusal
	}
	return body, nil
}

// success returns the response of an answer.
func success(ctx context.Context, event events.APIGatewayV2HTTPRequest, answer any) events.APIGatewayV2HTTPResponse {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(answer); err != nil {
		return failure(ctx, event, fmt.Errorf("encoding the answer: %w", err))
	}
	if body.Len() > maxAnswer {
		// Only a list can become that long.
		return failure(ctx, event, apierr.InvalidArgument("page_size", apierr.Constraint, "must be smaller, because this page is larger than 5 MiB"))
	}
	return respond(event, http.StatusOK, body.String())
}

// failure returns the response of an error. It logs an internal error and answers nothing
// of its cause.
func failure(ctx context.Context, event events.APIGatewayV2HTTPRequest, err error) events.APIGatewayV2HTTPResponse {
	told := apierr.From(err)
	if told.Type == apierr.TypeInternal {
		slog.ErrorContext(ctx, "request failed", "request_id", requestID(event), "route", event.RouteKey, "error", err)
		if awserr.Throttled(err) {
			told = apierr.TooManyRequests(1)
		}
	}
	body, err := json.Marshal(told)
	if err != nil {
		panic(err) // an *apierr.Error always marshals
	}
	response := respond(event, told.Status, string(body))
	if told.RetryAfter > 0 {
		response.Headers["Retry-After"] = strconv.Itoa(told.RetryAfter)
	}
	if len(told.Allow) > 0 {
		response.Headers["Allow"] = strings.Join(told.Allow, ", ")
	}
	return response
}

// Text returns the response of a text of another type than JSON.
func Text(event events.APIGatewayV2HTTPRequest, contentType, text string) events.APIGatewayV2HTTPResponse {
	response := respond(event, http.StatusOK, text)
	response.Headers["Content-Type"] = contentType
	return response
}

// respond returns a response with the headers that every answer has.
func respond(event events.APIGatewayV2HTTPRequest, status int, body string) events.APIGatewayV2HTTPResponse {
	return events.APIGatewayV2HTTPResponse{
		StatusCode: status,
		Headers:    map[string]string{"Content-Type": "application/json", "X-Request-Id": requestID(event)},
		Body:       strings.TrimSuffix(body, "\n"),
	}
}

// requestID returns the ID that API Gateway gave the request. Its own logs have it too.
func requestID(event events.APIGatewayV2HTTPRequest) string {
	return event.RequestContext.RequestID
}
