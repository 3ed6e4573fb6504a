package invoke_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

// A call carries the event as a CloudEvent in HTTP's binary mode. An answer other
// than a 2xx is a *Failure, which says when the container wants to be called again.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Println(r.Method, r.URL.Path, r.Header.Get("Ce-Type"), r.Header.Get("Ce-Id"), string(body))
		if r.URL.Path == "/busy" {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()

	caller := invoke.New(invoke.Settings{AllowPrivate: true}) // the server is on loopback
	to := container.Container{PublicEndpoint: server.URL, Privacy: container.Public, Timeout: time.Minute}
	event := invoke.Event{ID: "2026-11-23T10:00:00Z", Type: "containertriggers.cron", Time: time.Now(), Body: []byte("nightly")}
	for _, path := range []string{"/hook", "/busy"} {
		t := trigger.Trigger{Region: "fr-par", Destination: trigger.Destination{HTTPMethod: "post", HTTPPath: path}}
		err := caller.Call(context.Background(), invoke.NewRoute(t, to, ""), event)
		if failure, failed := errors.AsType[*invoke.Failure](err); failed {
			fmt.Println(failure, "- come back after", failure.RetryAfter)
		}
	}
	// Output:
	// POST /hook containertriggers.cron 2026-11-23T10:00:00Z nightly
	// POST /busy containertriggers.cron 2026-11-23T10:00:00Z nightly
	// the container answered 503 Service Unavailable - come back after 30s
}
