package relay

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"containertriggers/shared/relay/natsconn"
)

func TestTrigger_WorksThroughWebSocketsAndTLSFirst(t *testing.T) {
	t.Parallel()
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(untrusted.Close)
	b := setup(t, &server.Options{
		TLS: true, TLSHandshakeFirst: true, TLSConfig: &tls.Config{Certificates: untrusted.TLS.Certificates, MinVersion: tls.VersionTLS12},
		Websocket: server.WebsocketOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoTLS: true},
	})
	dialer, servers := natsconn.New(&net.Dialer{}, deadline, []string{b.nats.WebsocketURL()})
	publisher, err := nats.Connect(servers[0], nats.SetCustomDialer(dialer), nats.SkipHostLookup())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	js, err := jetstream.New(publisher)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"stream"}}); err != nil {
		t.Fatal(err)
	}
	core, stream := b.createOn([]string{b.nats.WebsocketURL()}, "core", ""), b.createOn([]string{b.nats.WebsocketURL()}, "stream", "")
	// The relay trusts only the system's authorities, so its complaint shows that TLS has
	// started.
	secure := b.createOn([]string{"tls://" + b.nats.Addr().String()}, "core", "")
	b.start(10 * time.Minute)
	b.ready(core)
	b.ready(stream)
	b.inError(secure, "certificate is not trusted")
	b.publish(publisher, "core", numbers(0, 100)...)
	b.publish(publisher, "stream", numbers(100, 200)...)
	b.eventually("all messages arrive", func() bool { return b.count() == 200 })
}
