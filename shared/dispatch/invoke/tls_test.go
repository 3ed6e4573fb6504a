package invoke

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestCall_RequiresTLS12OrLater(t *testing.T) {
	t.Parallel()
	for version, accepted := range map[uint16]bool{
		tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true,
	} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			called := make(chan uint16, 1)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { called <- r.TLS.Version }))
			server.TLS = &tls.Config{MinVersion: version, MaxVersion: version}
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshakes that are meant to fail
			server.StartTLS()
			t.Cleanup(server.Close)
			caller := New(Settings{AllowPrivate: true})
			caller.transport.TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs

			tr, to, event := sample(server.URL)
			err := caller.Call(t.Context(), NewRoute(tr, to, ""), event)
			if accepted {
				if err != nil || <-called != version {
					t.Errorf("got %v", err)
				}
				return
			}
			if _, failed := errors.AsType[*Failure](err); !failed || len(called) > 0 {
				t.Errorf("got %v", err)
			}
		})
	}
}
