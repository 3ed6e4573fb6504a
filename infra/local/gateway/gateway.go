// Package gateway emulates HTTP APIs of API Gateway. It turns requests into events of
// payload format 2.0, and the functions' answers into responses.
package gateway

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"containertriggers/infra/local/lambda"
)

const (
	// API Gateway's limits (quotas of HTTP APIs).
	maxPayload         = 10 << 20
	integrationTimeout = 30 * time.Second
)

// Route is a route of the API.
type Route struct {
	Method string
	// Path may hold parameters in braces. Each is one segment. [DefaultPath] takes the
	// requests that no other route takes, by any method.
	Path string
	// Function is the name of the function that the route invokes.
	Function string
}

// DefaultPath is the path and key of the route that takes the requests of no other route.
const DefaultPath = "$default"

// key is the route's name in events.
func (r Route) key() string {
	if r.Path == DefaultPath {
		return DefaultPath
	}
	return r.Method + " " + r.Path
}

// Gateway is an http.Handler with routes.
type Gateway struct {
	Routes []Route
	// Invoke runs a function and returns its answer.
	Invoke func(ctx context.Context, function string, payload []byte) ([]byte, error)
	// Limit limits the requests of all routes together. If it is nil, there is no limit.
	Limit *rate.Limiter
	// CORS is nil if no page elsewhere may call the API.
	CORS *CORS
	// Stage is the name of the stage, with which the paths of requests begin. It is empty
	// for the stage $default.
	Stage string
	// BasePath is the base path of the API mapping of a custom domain, with which the
	// paths of requests begin. It is empty if there is none.
	BasePath string
}

func (g Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := uuid.NewString()
	w.Header().Set("Apigw-Requestid", id)
	if g.CORS != nil {
		g.CORS.allow(w.Header(), r)
		if preflight(r) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	path, rawPath, ok := g.route(r.URL.EscapedPath())
	var route Route
	var parameters map[string]string
	if ok {
		route, parameters, ok = g.match(r.Method, path)
	}
	if !ok {
		reply(w, http.StatusNotFound, "Not Found")
		return
	}
	if g.Limit != nil && !g.Limit.Allow() {
		reply(w, http.StatusTooManyRequests, "Too Many Requests")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		reply(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		return
	}
	if err != nil {
		return // the client is gone
	}
	event := newEvent(r, route, parameters, body, id, time.Now())
	event.RawPath = unescape(rawPath)
	event.RequestContext.HTTP.Path, event.RequestContext.Stage = event.RawPath, cmp.Or(g.Stage, "$default")
	payload, err := json.Marshal(event)
	if err != nil {
		reply(w, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	if len(payload) > maxEvent {
		reply(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), integrationTimeout)
	defer cancel()
	answer, err := g.Invoke(ctx, route.Function, payload)
	// An HTTP API answers 503 if the function takes too long or is throttled. AWS documents
	// neither; users report both.
	if _, throttled := errors.AsType[*lambda.ThrottledError](err); throttled || ctx.Err() != nil {
		reply(w, http.StatusServiceUnavailable, "Service Unavailable")
		return
	}
	var response events.APIGatewayV2HTTPResponse
	if err != nil || json.Unmarshal(answer, &response) != nil || response.StatusCode == 0 {
		reply(w, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	if g.CORS != nil {
		maps.DeleteFunc(response.Headers, func(name, _ string) bool { return strings.HasPrefix(strings.ToLower(name), "access-control-") })
	}
	respond(w, response)
}

// match returns the route of a path that is still percent-encoded, and the decoded
// parameters. It returns false if no route takes the path.
func (g Gateway) match(method, path string) (Route, map[string]string, bool) {
	segments := strings.Split(path, "/")
	var fallback Route
	for _, route := range g.Routes {
		if route.Path == DefaultPath {
			fallback = route
		}
		pattern := strings.Split(route.Path, "/")
		if route.Method != method || len(pattern) != len(segments) {
			continue
		}
		if parameters, ok := matchSegments(pattern, segments); ok {
			return route, parameters, true
		}
	}
	return fallback, nil, fallback != Route{}
}

func matchSegments(pattern, segments []string) (map[string]string, bool) {
	parameters := map[string]string{}
	for i, wanted := range pattern {
		segment, err := url.PathUnescape(segments[i])
		if err != nil {
			return nil, false
		}
		if strings.HasPrefix(wanted, "{") {
			if segment == "" {
				return nil, false
			}
			parameters[strings.Trim(wanted, "{}")] = segment
		} else if wanted != segment {
			return nil, false
		}
	}
	return parameters, true
}

// newEvent returns the request in payload format 2.0 (API Gateway Developer Guide,
// "Create AWS Lambda proxy integrations for HTTP APIs").
func newEvent(r *http.Request, route Route, parameters map[string]string, body []byte, id string, now time.Time) events.APIGatewayV2HTTPRequest {
	headers, cookies := headers(r)
	var query map[string]string
	if r.URL.RawQuery != "" {
		query = map[string]string{}
		for name, values := range r.URL.Query() {
			query[name] = strings.Join(values, ",")
		}
	}
	sourceIP, _, _ := net.SplitHostPort(r.RemoteAddr) // empty where the address is of no such form
	host := (&url.URL{Host: r.Host}).Hostname()
	prefix, _, _ := strings.Cut(host, ".")
	event := events.APIGatewayV2HTTPRequest{
		Version: "2.0", RouteKey: route.key(),
		RawQueryString: r.URL.RawQuery, Cookies: cookies,
		Headers: headers, QueryStringParameters: query, PathParameters: parameters,
		RequestContext: events.APIGatewayV2HTTPRequestContext{
			RouteKey: route.key(), AccountID: "123456789012", RequestID: id,
			APIID: "local", DomainName: host, DomainPrefix: prefix,
			Time: now.UTC().Format("02/Jan/2006:15:04:05 -0700"), TimeEpoch: now.UnixMilli(),
			HTTP: events.APIGatewayV2HTTPRequestContextHTTPDescription{
				Method: r.Method, Protocol: r.Proto, SourceIP: sourceIP, UserAgent: r.UserAgent(),
			},
		},
	}
	event.Body, event.IsBase64Encoded = content(r.Header.Get("Content-Type"), body)
	return event
}

func respond(w http.ResponseWriter, response events.APIGatewayV2HTTPResponse) {
	for name, value := range response.Headers {
		w.Header().Set(name, value)
	}
	body := []byte(response.Body)
	if response.IsBase64Encoded {
		decoded, err := base64.StdEncoding.DecodeString(response.Body)
		if err != nil {
			reply(w, http.StatusInternalServerError, "Internal Server Error")
			return
		}
		body = decoded
	}
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(body) // a client that is gone needs no answer
}

// reply sends an answer of API Gateway itself.
func reply(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"message":"` + message + `"}`))
}
