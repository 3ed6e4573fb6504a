package natsconn

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"containertriggers/infra/local/natsd"
)

// certificate returns a certificate for a host name, and a pool that trusts it.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// outcome reports whether the error of a connection is the wanted one.
type outcome func(error) bool

func works(err error) bool { return err == nil }

func untrustedCertificate(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok && !wrongHost(err)
}

func wrongHost(err error) bool {
	_, ok := errors.AsType[x509.HostnameError](err)
	return ok
}

func noTLS(err error) bool {
	return errors.Is(err, nats.ErrSecureConnWanted) || errors.Is(err, http.ErrSchemeMismatch)
}

func noWebSocket(err error) bool { return errors.Is(err, ErrNoWebSocket) }

// closed reports whether the server closed the connection without a reason.
func closed(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

func TestDialer_VerifiesCertificatesByTheHostName(t *testing.T) {
	t.Parallel()
	own, trusted := certificate(t, "localhost")
	foreign, _ := certificate(t, "localhost")
	other, otherTrusted := certificate(t, "nats.example.com")
	for name, test := range map[string]struct {
		certificate tls.Certificate
		roots       *x509.CertPool
		scheme      string
		host        string
		lastHost    string // the host name by which the cluster was found
		plain       bool   // a server without TLS
		want        outcome
	}{
		"trusted": {own, trusted, "tls", "localhost", "", false, works},
		"trusted, and only the server asks for it": {own, trusted, "nats", "localhost", "", false, works},
		"trusted, at an address of a cluster":      {own, trusted, "tls", "127.0.0.1", "localhost", false, works},
		"for a host name, at an address":           {own, trusted, "tls", "127.0.0.1", "", false, wrongHost},
		"untrusted":                                {foreign, trusted, "tls", "localhost", "", false, untrustedCertificate},
		"untrusted by the system":                  {own, nil, "nats", "localhost", "", false, untrustedCertificate},
		"for another host name":                    {other, otherTrusted, "tls", "localhost", "", false, wrongHost},
		"none, and the URL asks for one":           {own, trusted, "tls", "localhost", "", true, noTLS},
		"none, and the URL asks for none":          {own, trusted, "nats", "localhost", "", true, works},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := &server.Options{TLS: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{test.certificate}, MinVersion: tls.VersionTLS12}}
			if test.plain {
				options = nil
			}
			started, err := natsd.Start(options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(started.Close)
			port := started.URL()[strings.LastIndex(started.URL(), ":")+1:]
			dialer, servers := New(&net.Dialer{}, 5*time.Second, []string{test.scheme + "://" + test.host + ":" + port})
			dialer.roots = test.roots
			if test.lastHost != "" {
				dialer.lastHost.Store(&test.lastHost)
			}
			conn, err := nats.Connect(servers[0], nats.SetCustomDialer(dialer), nats.SkipHostLookup())
			if err == nil {
				err = conn.Flush()
				conn.Close()
			}
			if !test.want(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// at returns the URL of a server with another scheme and path, and with the host name
// in its certificate.
func at(url, scheme, path string) string {
	_, port, _ := strings.Cut(strings.TrimPrefix(url[strings.Index(url, "://"):], "://"), ":")
	return scheme + "://localhost:" + port + path
}

func TestDialer_ReachesServersOfEveryKind(t *testing.T) {
	t.Parallel()
	own, trusted := certificate(t, "localhost")
	_, untrusted := certificate(t, "localhost")
	config := &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}
	start := func(t *testing.T, options *server.Options) *natsd.Server {
		started, err := natsd.Start(options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(started.Close)
		return started
	}
	overTLS := func(first bool, fallback time.Duration) func(*testing.T, string) string {
		return func(t *testing.T, scheme string) string {
			options := &server.Options{TLS: true, TLSConfig: config, TLSHandshakeFirst: first, TLSHandshakeFirstFallback: fallback}
			return at(start(t, options).URL(), scheme, "")
		}
	}
	overWebSockets := func(path string, change func(*server.WebsocketOpts)) func(*testing.T, string) string {
		return func(t *testing.T, scheme string) string {
			options := &server.Options{Websocket: server.WebsocketOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoTLS: true}}
			change(&options.Websocket)
			return at(start(t, options).WebsocketURL(), scheme, path)
		}
	}
	clear := func(*server.WebsocketOpts) {}
	compressed := func(o *server.WebsocketOpts) { o.Compression = true }
	secure := func(o *server.WebsocketOpts) { o.NoTLS, o.TLSConfig = false, config }
	plain := func(t *testing.T, scheme string) string { return at(start(t, nil).URL(), scheme, "") }
	answering := func(status int) func(*testing.T, string) string {
		return func(t *testing.T, scheme string) string {
			web := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", status))
			t.Cleanup(web.Close)
			return at(web.URL, scheme, "")
		}
	}
	for name, test := range map[string]struct {
		start  func(t *testing.T, scheme string) string
		scheme string
		roots  *x509.CertPool
		want   outcome
	}{
		"no TLS":                             {plain, "nats", nil, works},
		"TLS after INFO":                     {overTLS(false, 0), "tls", trusted, works},
		"TLS first":                          {overTLS(true, 0), "tls", trusted, works},
		"TLS first, untrusted":               {overTLS(true, 0), "tls", untrusted, untrustedCertificate},
		"TLS first, by a URL without it":     {overTLS(true, 0), "nats", trusted, closed},
		"TLS first or after a while":         {overTLS(true, server.DEFAULT_TLS_HANDSHAKE_FIRST_FALLBACK_DELAY), "tls", trusted, works},
		"TLS after a while":                  {overTLS(true, server.DEFAULT_TLS_HANDSHAKE_FIRST_FALLBACK_DELAY), "nats", trusted, works},
		"TLS after a long while":             {overTLS(true, time.Hour), "tls", trusted, works},
		"a WebSocket":                        {overWebSockets("", clear), "ws", nil, works},
		"a WebSocket with a path":            {overWebSockets("/nats?a=b", clear), "ws", nil, works},
		"a WebSocket that offers to deflate": {overWebSockets("", compressed), "ws", nil, works},
		"a WebSocket on TLS":                 {overWebSockets("", secure), "wss", trusted, works},
		"a WebSocket on TLS, untrusted":      {overWebSockets("", secure), "wss", untrusted, untrustedCertificate},
		"a WebSocket on TLS, by ws://":       {overWebSockets("", secure), "ws", trusted, noWebSocket},
		"a WebSocket without TLS, by wss://": {overWebSockets("", clear), "wss", trusted, noTLS},
		"NATS, by ws://":                     {plain, "ws", nil, noWebSocket},
		"another HTTP server":                {answering(http.StatusNotFound), "ws", nil, noWebSocket},
		"a redirect":                         {answering(http.StatusFound), "ws", nil, noWebSocket},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := connect(test.start(t, test.scheme), test.roots)
			if err == nil {
				defer conn.Close()
				err = echo(conn)
			}
			if !test.want(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// echo publishes messages of many sizes, and returns an error if one of them does not
// come back.
func echo(conn *nats.Conn) error {
	sub, err := conn.SubscribeSync("echo")
	if err != nil {
		return err
	}
	for size := 1; size < 1<<20; size *= 4 {
		sent := &nats.Msg{Subject: "echo", Header: nats.Header{"Size": {fmt.Sprint(size)}}, Data: bytes.Repeat([]byte{byte(size), '\n'}, size/2)}
		if err := conn.PublishMsg(sent); err != nil {
			return err
		}
		got, err := sub.NextMsg(deadline)
		if err != nil {
			return err
		}
		if !bytes.Equal(got.Data, sent.Data) || got.Header.Get("Size") != fmt.Sprint(size) {
			return fmt.Errorf("a message of %d bytes came back as %d", size, len(got.Data))
		}
	}
	return nil
}

func TestDialer_WaitsForAnInfoThatComesLate(t *testing.T) {
	t.Parallel()
	own, trusted := certificate(t, "localhost")
	behind, err := natsd.Start(&server.Options{TLS: true, TLSTimeout: 10, TLSConfig: &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(behind.Close)
	var connections atomic.Int64
	// The first connection brings no INFO until the client has started TLS.
	url := listen(t, func(client net.Conn) {
		defer client.Close()
		upstream, err := net.Dial("tcp", behind.Addr().String())
		if err != nil {
			return
		}
		defer upstream.Close()
		if connections.Add(1) == 1 {
			hello := make([]byte, 1)
			if _, err := io.ReadFull(client, hello); err != nil {
				return
			}
			_, _ = upstream.Write(hello)
		}
		go func() { _, _ = io.Copy(upstream, client) }()
		_, _ = io.Copy(client, upstream)
	})
	conn, err := connect(at(url, "tls", ""), trusted)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := echo(conn); err != nil || connections.Load() != 2 {
		t.Errorf("got %v after %d connections", err, connections.Load())
	}
}

func TestDialer_RefusesWebSocketsThatWereNotNegotiated(t *testing.T) {
	t.Parallel()
	for what, frame := range map[string]string{
		"compressed frames":           "\xc2\x05\x4b\x4c\x04\x00\x00",
		"text frames":                 "\x81\x06PING\r\n",
		"unknown opcodes":             "\x83\x06PING\r\n",
		"long control frames":         "\x89\x7e\x01\x00" + strings.Repeat("a", 256),
		"frames of a negative length": "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff" + strings.Repeat("a", 256),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			url := rawWebSocket(t, frame)
			err := eventualError(t, url, nil, func(err error) bool { return err != nil && !errors.Is(err, nats.ErrNoServers) })
			if !strings.Contains(err.Error(), "failed to get reader") && !strings.Contains(err.Error(), "unexpected frame type") {
				t.Errorf("it ended for %v", err)
			}
		})
	}
}

// rawWebSocket starts a server that accepts WebSockets, sends a valid INFO, and then
// repeats a frame.
func rawWebSocket(t *testing.T, frame string) (url string) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", acceptKey(r))
		fmt.Fprintf(conn, "\x82%c%s", len(anInfo), anInfo)
		go func() { _, _ = io.Copy(io.Discard, buffered) }()
		for {
			if _, err := io.WriteString(conn, frame); err != nil {
				return
			}
		}
	}))
	t.Cleanup(web.Close)
	return "ws" + strings.TrimPrefix(web.URL, "http")
}

// acceptKey returns the answer to the client's key (RFC 6455, section 4.2.2).
func acceptKey(r *http.Request) string {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func TestNew_ReturnsURLsForTheClient(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		given, forClient []string
		webSockets       map[string][]string
		secure           bool
	}{
		{[]string{"nats://a", "nats://b:1"}, []string{"nats://a", "nats://b:1"}, nil, false},
		{[]string{"tls://a", "nats://b:1"}, []string{"tls://a", "nats://b:1"}, nil, true},
		{[]string{"ws://a", "wss://b", "ws://c:1/x?y", "wss://c:1/z"}, []string{"nats://a:80", "nats://b:443", "nats://c:1", "nats://c:1"},
			map[string][]string{"a:80": {"ws://a"}, "b:443": {"wss://b"}, "c:1": {"ws://c:1/x?y", "wss://c:1/z"}}, true},
		{[]string{"ws://[::1]/x", "ws://[fe80::1%25e]:1"}, []string{"nats://[::1]:80", "nats://[fe80::1%25e]:1"},
			map[string][]string{"[::1]:80": {"ws://[::1]/x"}, "[fe80::1%e]:1": {"ws://[fe80::1%25e]:1"}}, false},
	} {
		d, forClient := New(&net.Dialer{}, 5*time.Second, test.given)
		if !reflect.DeepEqual(forClient, test.forClient) || !reflect.DeepEqual(d.webSockets, test.webSockets) || d.secure != test.secure {
			t.Errorf("%v: got %v, %v, secure %t", test.given, forClient, d.webSockets, d.secure)
		}
	}
}
