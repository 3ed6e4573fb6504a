package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/openapi"
)

// ask sends a request as API Gateway does, without a key.
func ask(t *testing.T, settings httpapi.Settings, routeKey, method, path string) events.APIGatewayV2HTTPResponse {
	t.Helper()
	event := events.APIGatewayV2HTTPRequest{RouteKey: routeKey, RawPath: path}
	event.RequestContext.DomainName, event.RequestContext.RequestID = "api.example.com", "request"
	event.RequestContext.HTTP.Method = method
	response, err := newHandler(settings)(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	if response.Headers["Content-Type"] != "application/json" || response.Headers["X-Request-Id"] != "request" {
		t.Errorf("%s %s: got headers %v", method, path, response.Headers)
	}
	return response
}

func TestMetadata_NamesTheDeploymentsDomain(t *testing.T) {
	t.Parallel()
	for setting, domain := range map[string]string{"": "api.example.com", "triggers.example": "triggers.example"} {
		response := ask(t, httpapi.Settings{Domain: setting}, "GET /metadata", "GET", "/metadata")
		want := `{"platform":"external","partition":"scw","domain":"` + domain + `"}`
		if response.StatusCode != 200 || response.Body != want {
			t.Errorf("with the setting %q: got %d %s, want %s", setting, response.StatusCode, response.Body, want)
		}
	}
}

func TestDefaultRoute_AnswersInTheContractsForm(t *testing.T) {
	t.Parallel()
	const region = "/containers/v1/regions/fr-par"
	notAllowed := func(methods string) string {
		return `{"message":"invalid argument(s)","details":[{"argument_name":"method","reason":"constraint","help_message":"method must be ` + methods + `"}],"type":"invalid_arguments"}`
	}
	for request, test := range map[[2]string]struct {
		status      int
		allow, body string
	}{
		{"PUT", region + "/triggers"}:               {405, "GET, POST", notAllowed("GET or POST")},
		{"HEAD", region + "/containers"}:            {405, "GET, POST", notAllowed("GET or POST")},
		{"OPTIONS", region + "/triggers/x"}:         {405, "GET, PATCH, DELETE", notAllowed("GET or PATCH or DELETE")},
		{"POST", region + "/containers/x"}:          {405, "GET, PATCH, DELETE", notAllowed("GET or PATCH or DELETE")},
		{"PUT", region + "/namespaces"}:             {405, "GET, POST", notAllowed("GET or POST")},
		{"PUT", region + "/namespaces/x"}:           {405, "GET, PATCH, DELETE", notAllowed("GET or PATCH or DELETE")},
		{"POST", "/metadata"}:                       {405, "GET", notAllowed("GET")},
		{"GET", "/"}:                                {404, "", ""},
		{"GET", ""}:                                 {404, "", ""},
		{"GET", "/metadata/"}:                       {404, "", ""},
		{"GET", region + "/triggers/"}:              {404, "", ""},
		{"DELETE", region + "/triggers/x/"}:         {404, "", ""},
		{"GET", region + "/triggers/x"}:             {404, "", ""}, // its slash was escaped
		{"GET", region + "/domains"}:                {404, "", ""},
		{"POST", region + "/tokens"}:                {404, "", ""},
		{"POST", region + "/containers/x/redeploy"}: {404, "", ""},
		{"GET", region + "/containers/x/logs"}:      {404, "", ""},
		{"GET", "/containers/v1/regions//triggers"}: {404, "", ""},
		{"GET", "/containers/v1beta1/regions/x/y"}:  {404, "", ""},
	} {
		response := ask(t, httpapi.Settings{}, "$default", request[0], request[1])
		if test.status == 404 {
			test.body = `{"message":"resource is not found","resource":"path","resource_id":"` + request[1] + `","type":"not_found"}`
			if request[1] == "" {
				test.body = `{"message":"resource is not found","resource":"path","type":"not_found"}`
			}
		}
		if response.StatusCode != test.status || response.Headers["Allow"] != test.allow || response.Body != test.body {
			t.Errorf("%v: got %d %v %s\nwant %d %q %s", request, response.StatusCode, response.Headers, response.Body, test.status, test.allow, test.body)
		}
	}
}

func TestDocument_IsServedAsYAMLAndAsJSON(t *testing.T) {
	t.Parallel()
	var event events.APIGatewayV2HTTPRequest
	event.RouteKey, event.RequestContext.HTTP.Method = yamlRoute, "GET"
	response, err := newHandler(httpapi.Settings{})(t.Context(), event)
	if err != nil || response.StatusCode != 200 || response.Headers["Content-Type"] != "application/yaml" || response.Body+"\n" != string(openapi.YAML) {
		t.Errorf("got %d %v, %v", response.StatusCode, response.Headers, err)
	}
	document := ask(t, httpapi.Settings{}, jsonRoute, "GET", "/openapi.json")
	var read struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal([]byte(document.Body), &read); err != nil || document.StatusCode != 200 || read.OpenAPI != "3.1.0" || len(read.Paths) == 0 {
		t.Errorf("got %d %.100s, %v", document.StatusCode, document.Body, err)
	}
}

func TestRoutes_MatchTheTemplate(t *testing.T) {
	t.Parallel()
	template, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var deployed, known []string
	parameter := regexp.MustCompile(`\{\w+\}`)
	for _, route := range regexp.MustCompile(`(?m)^ +Method: (\w+)\n +Path: (\S+)$`).FindAllStringSubmatch(string(template), -1) {
		deployed = append(deployed, route[1]+" "+parameter.ReplaceAllString(route[2], "?*"))
	}
	for _, route := range routes {
		for _, method := range route.methods {
			known = append(known, method+" "+route.pattern)
		}
	}
	slices.Sort(deployed)
	slices.Sort(known)
	if len(deployed) < 11 || !slices.Equal(deployed, known) {
		t.Errorf("the template has the routes %q,\nthe code %q", deployed, known)
	}
}
