// Package gateway plays API Gateway's HTTP API: it turns requests into events of
// payload format 2.0 and what functions answer into responses.
package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/uuid"
	"golang.org/x/time/rate"
)

const (
	// API Gateway's limits (quotas of HTTP APIs).
	maxPayload         = 10 << 20
	integrationTimeout = 30 * time.Second
)

// Route is a route of the API.
type Route struct {
	Method string
	// Path holds parameters in braces, each standing for one segment.
	Path string
	// Function is what the route invokes.
	Function string
}

// Gateway is an http.Handler with routes.
type Gateway struct {
	Routes []Route
	// Invoke runs a function and waits for its answer.
	Invoke func(ctx context.Context, function string, payload []byte) ([]byte, error)
	// Limit bounds the requests of all routes together; nil does not.
	Limit *rate.Limiter
}

func (g Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := uuid.NewString()
	w.Header().Set("Apigw-Requestid", id)
	route, parameters, ok := g.match(r.Method, r.URL.EscapedPath())
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
	payload, err := json.Marshal(newEvent(r, route, parameters, body, id, time.Now()))
	if err != nil {
		reply(w, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), integrationTimeout)
	defer cancel()
	answer, err := g.Invoke(ctx, route.Function, payload)
	if ctx.Err() != nil {
		reply(w, http.StatusServiceUnavailable, "Service Unavailable")
		return
	}
	var response events.APIGatewayV2HTTPResponse
	if err != nil || json.Unmarshal(answer, &response) != nil || response.StatusCode == 0 {
		reply(w, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	respond(w, response)
}

// match finds the route of a path that is still percent-encoded, and the decoded
// parameters.
func (g Gateway) match(method, path string) (Route, map[string]string, bool) {
	segments := strings.Split(path, "/")
	for _, route := range g.Routes {
		pattern := strings.Split(route.Path, "/")
		if route.Method != method || len(pattern) != len(segments) {
			continue
		}
		if parameters, ok := matchSegments(pattern, segments); ok {
			return route, parameters, true
		}
	}
	return Route{}, nil, false
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

// newEvent is the request in payload format 2.0 (API Gateway Developer Guide,
// "Create AWS Lambda proxy integrations for HTTP APIs").
func newEvent(r *http.Request, route Route, parameters map[string]string, body []byte, id string, now time.Time) events.APIGatewayV2HTTPRequest {
	headers := map[string]string{"host": r.Host}
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	var query map[string]string
	if r.URL.RawQuery != "" {
		query = map[string]string{}
		for name, values := range r.URL.Query() {
			query[name] = strings.Join(values, ",")
		}
	}
	sourceIP, _, _ := net.SplitHostPort(r.RemoteAddr) // empty where the address is of no such form
	event := events.APIGatewayV2HTTPRequest{
		Version: "2.0", RouteKey: route.Method + " " + route.Path,
		RawPath: r.URL.Path, RawQueryString: r.URL.RawQuery,
		Headers: headers, QueryStringParameters: query, PathParameters: parameters,
		RequestContext: events.APIGatewayV2HTTPRequestContext{
			RouteKey: route.Method + " " + route.Path, AccountID: "123456789012", Stage: "$default", RequestID: id,
			APIID: "local", DomainName: r.Host, DomainPrefix: "local",
			Time: now.UTC().Format("02/Jan/2006:15:04:05 -0700"), TimeEpoch: now.UnixMilli(),
			HTTP: events.APIGatewayV2HTTPRequestContextHTTPDescription{
				Method: r.Method, Path: r.URL.Path, Protocol: r.Proto, SourceIP: sourceIP, UserAgent: r.UserAgent(),
			},
		},
	}
	if utf8.Valid(body) {
		event.Body = string(body)
	} else {
		event.Body, event.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
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

// reply answers as API Gateway itself does.
func reply(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"message":"` + message + `"}`))
}
