// Package natsconn connects to NATS servers that users name. It limits the data that a
// server can make the client keep in memory, whether NATS is carried by TCP, TLS or
// WebSockets.
package natsconn

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"sync/atomic"
	"time"
)

// greetingTime limits the wait for the INFO of a server with a TLS URL. If none comes,
// the dialer takes the server for one that waits for the client's TLS handshake
// (handshake_first). The rest of the server's own limit, 2 seconds by default
// (tls.timeout), remains for the handshake.
const greetingTime = 500 * time.Millisecond

// Dialer connects to the servers of one trigger. Give it to nats.go with
// nats.SetCustomDialer. It starts TLS and WebSockets itself, so that the limits apply
// to the NATS protocol inside of them: nats.go keeps a WebSocket frame of any size in
// memory, and inflates compressed frames that were never negotiated.
type Dialer struct {
	// Admit is called before the client allocates a message, with the size of all messages
	// that the client has not received in whole. If Admit returns false, the client does
	// not get the message. A nil Admit admits all messages.
	Admit  func(unprocessed int) bool
	dialer *net.Dialer
	// timeout limits one Dial.
	timeout time.Duration
	// roots are the trusted certificate authorities. If it is nil, the dialer trusts
	// the system's.
	roots *x509.CertPool
	// secure is true if one of the URLs asks for TLS. Like nats.go, the dialer then
	// expects TLS of all servers, including those that their cluster announces.
	secure bool
	// webSockets holds the URLs of WebSocket servers by address. It is nil if no URL
	// asks for WebSockets.
	webSockets map[string][]string
	// lastHost is the host of the last server that was dialed by its host name. A
	// cluster announces its servers by IP address, and their certificates are for the
	// host name in the trigger's URL.
	lastHost atomic.Pointer[string]
}

// New returns a dialer for servers with these URLs, and the URLs to give to nats.go,
// which must not start WebSockets itself. Each Dial fails after timeout.
func New(dialer *net.Dialer, timeout time.Duration, servers []string) (d *Dialer, forClient []string) {
	d = &Dialer{dialer: dialer, timeout: timeout}
	for _, server := range servers {
		parsed, err := url.Parse(server)
		if err != nil {
			parsed = &url.URL{} // nats.go returns an error for this URL
		}
		d.secure = d.secure || parsed.Scheme == "tls" || parsed.Scheme == "wss"
		if parsed.Scheme == "ws" || parsed.Scheme == "wss" {
			address := webSocketAddress(parsed)
			if d.webSockets == nil {
				d.webSockets = map[string][]string{}
			}
			d.webSockets[address] = append(d.webSockets[address], server)
			server = (&url.URL{Scheme: "nats", Host: address}).String()
		}
		forClient = append(forClient, server)
	}
	return d, forClient
}

// SkipTLSHandshake returns true, so that nats.go leaves TLS to the dialer.
func (*Dialer) SkipTLSHandshake() bool { return true }

// Dial connects to a server. The first data to read from the connection is the
// server's INFO.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d.timeout)
	defer cancel()
	if d.webSockets != nil {
		return d.dialWebSocket(ctx, address)
	}
	greeting := d.timeout
	if d.secure {
		greeting = greetingTime
	}
	conn, err := d.dialNATS(ctx, network, address, greeting)
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok && bytes.HasPrefix(record.RecordHeader[:], []byte("INFO")) {
		// The server sends its INFO before TLS after all, but it was slow.
		return d.dialNATS(ctx, network, address, d.timeout)
	}
	return conn, err
}

// dialNATS connects to a server that speaks NATS on TCP. It starts TLS if no INFO
// comes within greeting.
func (d *Dialer) dialNATS(ctx context.Context, network, address string, greeting time.Duration) (net.Conn, error) {
	conn, err := d.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	limited, err := d.handshake(ctx, conn, address, greeting)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{}) // if it fails, the next read fails, too
	return limited, nil
}

// handshake reads the server's INFO, and starts TLS if the INFO asks for it or does not
// come within greeting.
func (d *Dialer) handshake(ctx context.Context, conn net.Conn, address string, greeting time.Duration) (net.Conn, error) {
	deadline, _ := ctx.Deadline()
	greeted := time.Now().Add(greeting)
	if greeted.After(deadline) {
		greeted = deadline
	}
	_ = conn.SetDeadline(greeted)
	start := make([]byte, 1)
	_, err := io.ReadFull(conn, start)
	_ = conn.SetDeadline(deadline)
	if errors.Is(err, os.ErrDeadlineExceeded) && greeted.Before(deadline) {
		return d.startTLS(ctx, conn, address, nil)
	}
	if err != nil {
		return nil, err
	}
	line, err := readLine(conn, start)
	if err != nil {
		return nil, err
	}
	var info struct {
		Required  bool `json:"tls_required"`
		Available bool `json:"tls_available"`
	}
	_, text, _ := bytes.Cut(line, []byte(" "))
	if err := json.Unmarshal(text, &info); err != nil {
		return nil, fmt.Errorf("%w: %.100q", ErrProtocolLimit, line)
	}
	if info.Required || info.Available {
		return d.startTLS(ctx, conn, address, line)
	}
	return &limitedConn{Conn: conn, admit: d.Admit, buffered: line}, nil
}

// startTLS starts TLS on a connection, after the server has sent buffered in clear text.
func (d *Dialer) startTLS(ctx context.Context, conn net.Conn, address string, buffered []byte) (net.Conn, error) {
	secured := tls.Client(conn, d.tlsConfig(address))
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return &limitedConn{Conn: secured, admit: d.Admit, buffered: buffered}, nil
}

// tlsConfig returns a config that verifies the certificate of the server at address.
func (d *Dialer) tlsConfig(address string) *tls.Config {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if net.ParseIP(host) == nil {
		d.lastHost.Store(&host)
	} else if last := d.lastHost.Load(); last != nil {
		host = *last
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: d.roots, ServerName: host}
}

// readLine returns a line that starts with the given bytes. It reads the rest byte by
// byte, because the bytes after the line belong to TLS.
func readLine(conn io.Reader, line []byte) ([]byte, error) {
	one := make([]byte, 1)
	for len(line) < maxLine && line[len(line)-1] != '\n' {
		if _, err := io.ReadFull(conn, one); err != nil {
			return nil, err
		}
		line = append(line, one[0])
	}
	if line[len(line)-1] != '\n' {
		return nil, fmt.Errorf("%w: a line of more than %d bytes", ErrProtocolLimit, maxLine)
	}
	return line, nil
}
