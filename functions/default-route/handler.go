package main

import (
	"context"
	"encoding/json"
	"path"
	"slices"

	"github.com/aws/aws-lambda-go/events"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/openapi"
	"containertriggers/shared/contract/apierr"
)

const (
	metadataRoute = "GET /metadata"
	yamlRoute     = "GET /openapi.yaml"
	jsonRoute     = "GET /openapi.json"
	regional      = "/containers/v1/regions/?*"
)

// routes lists the paths of the API with their methods, for the Allow header. The patterns
// are those of [path.Match], and "?*" matches a parameter. A test compares the routes with
// the template's.
var routes = []struct {
	pattern string
	methods []string
}{
	{"/", []string{"GET", "HEAD"}},
	{"/console/?*/?*", []string{"GET"}},
	{"/metadata", []string{"GET"}},
	{"/openapi.yaml", []string{"GET"}},
	{"/openapi.json", []string{"GET"}},
	{regional + "/triggers", []string{"GET", "POST"}},
	{regional + "/triggers/?*", []string{"GET", "PATCH", "DELETE"}},
	{regional + "/triggers/?*/next-runs", []string{"GET"}},
	{regional + "/triggers/?*/run", []string{"POST"}},
	{regional + "/triggers/?*/pause", []string{"POST"}},
	{regional + "/triggers/?*/resume", []string{"POST"}},
	{regional + "/preview-schedule", []string{"POST"}},
	{regional + "/trigger-runs", []string{"GET"}},
	{regional + "/trigger-runs/?*", []string{"GET", "DELETE"}},
	{regional + "/trigger-runs/?*/replay", []string{"POST"}},
	{regional + "/containers", []string{"GET", "POST"}},
	{regional + "/containers/?*", []string{"GET", "PATCH", "DELETE"}},
	{regional + "/namespaces", []string{"GET", "POST"}},
	{regional + "/namespaces/?*", []string{"GET", "PATCH", "DELETE"}},
}

// metadata is the answer from which the stock Go SDK builds the srn of resources.
type metadata struct {
	Platform  string `json:"platform"`
	Partition string `json:"partition"`
	Domain    string `json:"domain"`
}

// newHandler returns the handler of requests that no other function handles.
func newHandler(settings httpapi.Settings) httpapi.Handler {
	answer := httpapi.Answer(func(_ context.Context, event events.APIGatewayV2HTTPRequest) (any, error) {
		if event.RouteKey == jsonRoute {
			document, err := openapi.JSON()
			return json.RawMessage(document), err
		}
		if event.RouteKey == metadataRoute {
			return metadata{Platform: "external", Partition: "scw", Domain: settings.DomainOf(event)}, nil
		}
		// API Gateway sends a path with an escaped slash to this route, although the decoded
		// path has the method. Such a path is not found.
		if allowed := methods(event.RawPath); len(allowed) > 0 && !slices.Contains(allowed, event.RequestContext.HTTP.Method) {
			return nil, apierr.MethodNotAllowed(allowed...)
		}
		return nil, apierr.NotFound("path", event.RawPath)
	})
	return func(ctx context.Context, event events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error) {
		if event.RouteKey == yamlRoute {
			return httpapi.Text(event, "application/yaml", string(openapi.YAML)), nil
		}
		return answer(ctx, event)
	}
}

// methods returns the methods of a path, or nil if the API does not have the path.
func methods(requested string) []string {
	for _, route := range routes {
		if ok, err := path.Match(route.pattern, requested); ok && err == nil {
			return route.methods
		}
	}
	return nil
}
