package main

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// counter is a proxy before AWS that counts requests and bytes. The bytes are those of HTTP/1.1
// with all headers, but without TLS.
type counter struct {
	url    string
	server *http.Server

	mu  sync.Mutex
	sum traffic
}

// traffic is what went through a counter.
type traffic struct {
	calls          map[string]int // by operation
	sent, received int64          // by the client
}

// newCounter starts a proxy to an endpoint.
func newCounter(endpoint string) (*counter, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counter{url: "http://" + listener.Addr().String(), sum: traffic{calls: map[string]int{}}}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}
	c.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".") // all services that dispatchers call have it
		c.count(func(sum *traffic) { sum.calls[operation]++ })
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = c.server.Serve(countedListener{listener, c}) }() // until it is closed
	return c, nil
}

func (c *counter) close() { _ = c.server.Close() }

func (c *counter) count(add func(*traffic)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.sum)
}

func (c *counter) soFar() (sum traffic) {
	c.count(func(t *traffic) { sum = traffic{maps.Clone(t.calls), t.sent, t.received} })
	return sum
}

// minus returns the traffic since an earlier time.
func (t traffic) minus(earlier traffic) traffic {
	since := traffic{map[string]int{}, t.sent - earlier.sent, t.received - earlier.received}
	for operation, calls := range t.calls {
		if more := calls - earlier.calls[operation]; more > 0 {
			since.calls[operation] = more
		}
	}
	return since
}

// cells returns the calls and bytes for each of count messages.
func (t traffic) cells(count int) []string {
	calls := 0
	for _, n := range t.calls {
		calls += n
	}
	each := func(n float64) string { return fmt.Sprintf("%.0f B", n/float64(count)) }
	return []string{fmt.Sprintf("%.2f", float64(calls)/float64(count)), each(float64(t.sent)), each(float64(t.received))}
}

// operations returns how often each operation is called for each of count messages.
func (t traffic) operations(count int) string {
	var parts []string
	for _, operation := range slices.Sorted(maps.Keys(t.calls)) {
		parts = append(parts, fmt.Sprintf("%s %.2f", operation, float64(t.calls[operation])/float64(count)))
	}
	return strings.Join(parts, ", ")
}

// countedListener counts the bytes of its connections.
type countedListener struct {
	net.Listener
	counter *counter
}

func (l countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{conn, l.counter}, nil
}

type countedConn struct {
	net.Conn
	counter *counter
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.counter.count(func(t *traffic) { t.sent += int64(n) })
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.counter.count(func(t *traffic) { t.received += int64(n) })
	return n, err
}
