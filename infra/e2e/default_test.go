package e2e

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"
	"github.com/scaleway/scaleway-sdk-go/scw"
)

func TestDefaultRoute_AnswersInTheContractsFormWithoutAKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for request, want := range map[[2]string]int{
		{http.MethodPut, regional + "/triggers"}:                                        http.StatusMethodNotAllowed,
		{http.MethodOptions, regional + "/containers/" + b.containerID}:                 http.StatusMethodNotAllowed,
		{http.MethodPost, "/metadata"}:                                                  http.StatusMethodNotAllowed,
		{http.MethodGet, regional + "/triggers/"}:                                       http.StatusNotFound,
		{http.MethodGet, regional + "/containers/" + b.containerID + "/"}:               http.StatusNotFound,
		{http.MethodGet, "/console"}:                                                    http.StatusNotFound,
		{http.MethodGet, "/containers/v1/regions"}:                                      http.StatusNotFound,
		{http.MethodPost, "/containers/v1beta1/regions/fr-par/tokens"}:                  http.StatusNotFound,
		{http.MethodPost, regional + "/tokens"}:                                         http.StatusNotFound,
		{http.MethodGet, regional + "/containers/" + b.containerID + "/logs"}:           http.StatusNotFound,
		{http.MethodPost, regional + "/containers/" + b.containerID + "/no-such-thing"}: http.StatusNotFound,
	} {
		r := b.do(request[0], request[1], "{}", map[string]string{"X-Auth-Token": ""})
		kind := map[int]string{http.StatusNotFound: "not_found", http.StatusMethodNotAllowed: "invalid_arguments"}[want]
		if r.status != want || r.body["type"] != kind || (r.header.Get("Allow") != "") != (want == http.StatusMethodNotAllowed) {
			t.Errorf("%v: got %d %v %s", request, r.status, r.header, r.text)
		}
		if r.header.Get("Content-Type") != "application/json" || r.header.Get("X-Request-Id") == "" {
			t.Errorf("%v: got headers %v", request, r.header)
		}
	}
}

func TestDefaultRoute_AnswersMissingOperationsWithNotFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, call := range map[string]func() error{
		"redeploy": func() error {
			_, err := b.api.RedeployContainer(&container.RedeployContainerRequest{ContainerID: b.containerID})
			return err
		},
		"create a domain": func() error {
			_, err := b.api.CreateDomain(&container.CreateDomainRequest{ContainerID: b.containerID, Hostname: "jobs.example.com"})
			return err
		},
		"list domains": func() error {
			_, err := b.api.ListDomains(&container.ListDomainsRequest{})
			return err
		},
		"get a certificate": func() error {
			_, err := b.api.GetPrivateEndpointCertificateAuthority(&container.GetPrivateEndpointCertificateAuthorityRequest{})
			return err
		},
	} {
		if missing, ok := errors.AsType[*scw.ResourceNotFoundError](call()); !ok || missing.Resource != "path" {
			t.Errorf("%s: got %v", name, call())
		}
	}
}

func TestMetadata_SatisfiesTheStockSDK(t *testing.T) {
	t.Parallel()
	b := setup(t)
	api, err := url.Parse(b.APIURL())
	if err != nil {
		t.Fatal(err)
	}
	client, err := scw.NewClient(scw.WithAPIURL(b.APIURL()), scw.WithoutAuth(), scw.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.GetAPIMetadata()
	if want := (scw.ApiMetadata{Platform: "external", Partition: "scw", Domain: api.Hostname()}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}
