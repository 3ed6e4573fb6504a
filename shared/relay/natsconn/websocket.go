package natsconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"

	"github.com/coder/websocket"
)

// ErrNoWebSocket is the error of Dial if the server answers, but not as a WebSocket
// server.
var ErrNoWebSocket = errors.New("the server does not accept WebSocket connections")

// webSocketAddress returns the host and port of a ws:// or wss:// URL.
func webSocketAddress(server *url.URL) string {
	switch {
	case server.Port() != "":
		return server.Host
	case server.Scheme == "wss":
		return strings.TrimSuffix(server.Host, ":") + ":443"
	}
	return strings.TrimSuffix(server.Host, ":") + ":80"
}

// dialWebSocket connects to a server that speaks NATS in WebSocket messages. It tries
// each URL of the trigger that has the address. If there is none, because the cluster
// announced the server, it connects to the root path.
func (d *Dialer) dialWebSocket(ctx context.Context, address string) (conn net.Conn, err error) {
	targets := d.webSockets[address]
	if len(targets) == 0 {
		scheme := "ws"
		if d.secure {
			scheme = "wss"
		}
		targets = []string{(&url.URL{Scheme: scheme, Host: address}).String()}
	}
	client := &http.Client{
		Transport: &http.Transport{
			DialContext: d.dialer.DialContext, TLSClientConfig: d.tlsConfig(address),
			DisableKeepAlives: true, MaxResponseHeaderBytes: maxLine,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	connected := false
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }})
	for _, target := range targets {
		var socket *websocket.Conn
		socket, _, err = websocket.Dial(ctx, target, &websocket.DialOptions{HTTPClient: client}) //nolint:bodyclose // Dial itself closes the response
		if err == nil {
			return &limitedConn{Conn: webSocketConn{websocket.NetConn(context.Background(), socket, websocket.MessageBinary), socket}, admit: d.Admit}, nil
		}
	}
	if connected && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", ErrNoWebSocket, err)
	}
	return nil, err
}

// webSocketConn carries NATS in the messages of a WebSocket.
type webSocketConn struct {
	net.Conn
	socket *websocket.Conn
}

// Close closes the connection without the closing handshake, because a server may never
// answer it.
func (c webSocketConn) Close() error { return c.socket.CloseNow() }
