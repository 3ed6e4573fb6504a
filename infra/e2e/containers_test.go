package e2e

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"
	"github.com/scaleway/scaleway-sdk-go/scw"
)

// register registers a container with the SDK and takes it away after the test.
func (b *testBundle) register(request *container.CreateContainerRequest) *container.Container {
	b.t.Helper()
	created, err := b.api.CreateContainer(request)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { b.do(http.MethodDelete, regional+"/containers/"+created.ID, "", nil) })
	return created
}

func TestContainer_StockClientUpdateKeepsItPrivate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token := uuid.NewString()
	tokens := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { tokens <- r.Header.Get("X-Auth-Token") }))
	t.Cleanup(server.Close)
	secrets := map[string]string{"INVOKE_TOKEN": token}
	created := b.register(&container.CreateContainerRequest{
		Name: "jobs", Image: server.URL, Privacy: container.ContainerPrivacyPrivate, SecretEnvironmentVariables: secrets,
	})
	if created.Privacy != container.ContainerPrivacyPrivate || created.PublicEndpoint != server.URL || created.Image != server.URL {
		t.Fatalf("got %+v", created)
	}

	updated, err := b.api.UpdateContainer(&container.UpdateContainerRequest{ContainerID: created.ID, Description: scw.StringPtr("x")})
	if err != nil {
		t.Fatal(err)
	}
	want := *created
	want.Description, want.UpdatedAt = "x", updated.UpdatedAt
	if !reflect.DeepEqual(*updated, want) {
		t.Errorf("an update of the description gives\n%+v, want\n%+v", *updated, want)
	}
	b.containerID = created.ID
	b.wait(b.createCron("private", "* * * * *", "UTC").ID)
	b.nextMinute()
	b.eventually("the private container is called", func() bool {
		select {
		case got := <-tokens:
			if got != token {
				t.Error("the private container does not get its token")
			}
			return true
		default:
			return false
		}
	})

	_, err = b.api.UpdateContainer(&container.UpdateContainerRequest{ContainerID: created.ID, Image: scw.StringPtr("http://127.0.0.1:1")})
	if refused := new(scw.InvalidArgumentsError); !errors.As(err, &refused) || refused.Details[0].ArgumentName != "invoke_token" {
		t.Errorf("the token follows the container to another host: %v", err)
	}
	secrets["INVOKE_TOKEN"] = uuid.NewString()
	moved, err := b.api.UpdateContainer(&container.UpdateContainerRequest{
		ContainerID: created.ID, Image: scw.StringPtr("http://127.0.0.1:1"), SecretEnvironmentVariables: &secrets,
	})
	if err != nil || moved.PublicEndpoint != "http://127.0.0.1:1" || moved.Privacy != container.ContainerPrivacyPrivate {
		t.Errorf("with its new token it does not move: %+v, %v", moved, err)
	}
}

func TestContainer_StockClientReadsBackItsFields(t *testing.T) {
	t.Parallel()
	b := setup(t)
	number := func(n uint32) *uint32 { return &n }
	size := func(n scw.Size) *scw.Size { return &n }
	yes, no, network, value := true, false, uuid.NewString(), uuid.NewString()
	probe := &container.ContainerProbe{
		FailureThreshold: 3, Interval: &scw.Duration{Seconds: 20}, Timeout: &scw.Duration{Seconds: 2, Nanos: 5e8},
		HTTP: &container.ContainerProbeHTTPProbe{Path: "/live"},
	}
	request := &container.CreateContainerRequest{
		Name: "jobs", Image: "https://jobs.example.com", Description: scw.StringPtr("d"), Tags: []string{"t"},
		EnvironmentVariables: map[string]string{"A": "1"}, SecretEnvironmentVariables: map[string]string{"S": value},
		MinScale: number(1), MaxScale: number(2), MemoryLimitBytes: size(128 * scw.MB), MvcpuLimit: number(70), LocalStorageLimitBytes: size(scw.GB),
		Timeout: &scw.Duration{Seconds: 60}, Privacy: container.ContainerPrivacyPublic, Protocol: container.ContainerProtocolH2c, Port: number(80),
		HTTPSConnectionsOnly: &yes, Sandbox: container.ContainerSandboxV1, ScalingOption: &container.ContainerScalingOption{CPUUsageThreshold: number(72)},
		LivenessProbe: probe, StartupProbe: probe, PrivateNetworkID: &network, Command: []string{"c"}, Args: []string{"a"},
		EnablePrivateEndpoint: &yes, EnableDefaultPublicEndpoint: &no,
	}
	created := b.register(request)
	got, err := b.api.WaitForContainer(&container.WaitForContainerRequest{ContainerID: created.ID})
	if err != nil || !reflect.DeepEqual(got, created) {
		t.Errorf("a get answers %+v, %v, the create %+v", got, err, created)
	}
	if same, err := argon2id.ComparePasswordAndHash(value, got.SecretEnvironmentVariables["S"]); !same || err != nil {
		t.Errorf("the secret variable is answered as %q, %v", got.SecretEnvironmentVariables["S"], err)
	}
	want := container.Container{
		ID: created.ID, Srn: "srn://containers.127.0.0.1/regions/fr-par/containers/" + created.ID, Region: scw.RegionFrPar, Name: "jobs",
		Description: "d", Status: container.ContainerStatusReady, CreatedAt: created.CreatedAt, UpdatedAt: created.UpdatedAt,
		EnvironmentVariables: request.EnvironmentVariables, SecretEnvironmentVariables: got.SecretEnvironmentVariables,
		MinScale: 1, MaxScale: 2, MemoryLimitBytes: 128 * scw.MB, MvcpuLimit: 70, LocalStorageLimitBytes: scw.GB, Timeout: request.Timeout,
		Privacy: request.Privacy, Image: request.Image, PublicEndpoint: request.Image, Protocol: request.Protocol, Port: 80, HTTPSConnectionsOnly: true,
		Sandbox: request.Sandbox, ScalingOption: request.ScalingOption, LivenessProbe: probe, StartupProbe: probe, Tags: request.Tags,
		PrivateNetworkID: &network, Command: request.Command, Args: request.Args,
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}

	updated, err := b.api.UpdateContainer(&container.UpdateContainerRequest{ContainerID: created.ID, StartupProbe: &container.UpdateContainerRequestProbe{FailureThreshold: number(9)}})
	if err != nil {
		t.Fatal(err)
	}
	startup := *probe
	startup.FailureThreshold = 9
	want.StartupProbe, want.UpdatedAt = &startup, updated.UpdatedAt
	if !reflect.DeepEqual(*updated, want) {
		t.Errorf("got  %+v\nwant %+v", *updated, want)
	}

	_, err = b.api.CreateContainer(&container.CreateContainerRequest{Name: "n", Image: "nginx:latest"})
	if refused := new(scw.InvalidArgumentsError); !errors.As(err, &refused) || refused.Details[0].ArgumentName != "image" || refused.Details[0].HelpMessage == "" {
		t.Errorf("an image of a registry: got %v", err)
	}
}
