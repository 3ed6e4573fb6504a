package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"containertriggers/shared/api/openapi"
)

// documented is a transport that compares each exchange with the OpenAPI document. An exchange
// that breaks it fails as a request would.
type documented struct{ http.RoundTripper }

// document returns the OpenAPI document.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	text, err := openapi.JSON()
	if err != nil {
		return nil, err
	}
	return openapi3.NewLoader().LoadFromData(text)
})

// routes returns the router of the document.
var routes = sync.OnceValues(func() (routers.Router, error) {
	loaded, err := document()
	if err != nil {
		return nil, err
	}
	for _, text := range []string{"text/html", "text/css", "text/javascript"} { // which it does not know
		openapi3filter.RegisterBodyDecoder(text, openapi3filter.PlainBodyDecoder)
	}
	return gorillamux.NewRouter(loaded)
})

// RoundTrip sends a request. A request that is accepted, and each answer, must be as the
// document says.
func (d documented) RoundTrip(request *http.Request) (*http.Response, error) {
	var sent []byte
	if request.Body != nil {
		var err error
		if sent, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
		request.Body = io.NopCloser(bytes.NewReader(sent))
	}
	response, err := d.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(got))
	request.Body = io.NopCloser(bytes.NewReader(sent))
	if err := compare(request, response, got); err != nil {
		return nil, fmt.Errorf("%s %s with %s, answered %d with %s, is not as the OpenAPI document says: %w", request.Method, request.URL, sent, response.StatusCode, got, err)
	}
	return response, nil
}

func compare(request *http.Request, response *http.Response, got []byte) error {
	router, err := routes()
	if err != nil {
		return err
	}
	local := request.Clone(request.Context())
	local.URL.Scheme, local.URL.Host, local.Host = "", "", ""
	route, parameters, err := router.FindRoute(local)
	if err != nil {
		if response.StatusCode >= 400 {
			return nil // no such path or method
		}
		return err
	}
	input := &openapi3filter.RequestValidationInput{
		Request: local, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true, MultiError: true},
	}
	if response.StatusCode < 300 {
		if err := openapi3filter.ValidateRequest(request.Context(), input); err != nil {
			return err
		}
	}
	return openapi3filter.ValidateResponse(request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: response.StatusCode, Header: response.Header,
		Body: io.NopCloser(bytes.NewReader(got)), Options: input.Options,
	})
}

// exchanges is the client with which tests call the API.
var exchanges = &http.Client{Transport: documented{http.DefaultTransport}}
