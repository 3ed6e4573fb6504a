package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"containertriggers/shared/relay/natsconn"
)

func TestTrigger_NamesTheServerThatDoesNotResolve(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.Dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no name server")
	}}
	id := b.createOn([]string{"nats://a.server.test:4222", "nats://b.server.test"}, "s", "")
	b.start(10 * time.Minute)
	// The client tries them in any order, and error_message names the last one.
	b.inError(id, ".server.test could not be looked up")
}

func TestExplain_SaysWhyAServerCannotBeReached(t *testing.T) {
	t.Parallel()
	lookup := func(notFound bool) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "e", Name: "nats-2.example.com", Server: "192.0.2.53:53", IsNotFound: notFound}}
	}
	for err, want := range map[error]string{
		lookup(true):                            "nats_config.server_urls: the name nats-2.example.com does not resolve",
		lookup(false):                           "nats_config.server_urls: the name nats-2.example.com could not be looked up",
		fmt.Errorf("dialing: %w", lookup(true)): "nats_config.server_urls: the name nats-2.example.com does not resolve",
		fmt.Errorf("%w: a long line", natsconn.ErrProtocolLimit):                                                            "nats_config.server_urls: a server does not speak the NATS protocol, or its messages have more than 8 MiB",
		fmt.Errorf("%w: %w", natsconn.ErrNoWebSocket, io.EOF):                                                               "nats_config.server_urls: a server does not accept WebSocket connections",
		&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}:                                                "nats_config.server_urls: a server's certificate is not trusted",
		&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "a.example.com"}}: "nats_config.server_urls: a server's certificate is for another host name",
		nats.ErrSecureConnWanted:                          "nats_config.server_urls: either the server or its URL requires TLS, and the other does not",
		fmt.Errorf("dialing: %w", http.ErrSchemeMismatch): "nats_config.server_urls: either the server or its URL requires TLS, and the other does not",
		io.EOF: "cannot connect to a server of nats_config.server_urls: the connection is broken",
	} {
		if got := explain(err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
}
