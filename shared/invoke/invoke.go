// Package invoke makes the HTTP call of a trigger to its container and judges
// the answer. Every source's dispatcher uses it.
//
// The container's endpoint is untrusted: no redirect is followed, no proxy is
// used, the address that is really dialled must be public unless the deployment
// allows others, and what comes back is bounded in size and time.
package invoke

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"containertriggers/shared/container"
	"containertriggers/shared/secret"
	"containertriggers/shared/trigger"
)

// Event is what a source tells the container.
type Event struct {
	// ID is the CloudEvents ID. It is the same each time that the event is tried
	// again: the container's idempotency key.
	ID string
	// Type is the CloudEvents type.
	Type string
	// Time is the scheduled time, or the message's.
	Time time.Time
	// Subject is the CloudEvents subject, empty where the source has none.
	Subject string
	// Header is what the trigger or the message wants to be sent. What belongs
	// to the connection is left out of the call.
	Header http.Header
	Body   []byte
}

const (
	// A container may say this much in its headers and its body; what goes beyond
	// fails the call, or is not read.
	maxAnswerHeader = 64 << 10
	maxAnswerBody   = 64 << 10

	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	// idleTimeout is below the 60 s after which many servers and load balancers
	// close an idle connection, so that they seldom close one under a new call.
	idleTimeout = 50 * time.Second
)

// Settings are what a deployment decides about calls.
type Settings struct {
	// AllowPrivate lets containers have loopback, private and other addresses
	// that are not public.
	AllowPrivate bool
}

// Caller makes calls. It keeps connections open between them, and is safe for
// concurrent use.
type Caller struct {
	// Not a Client: that would look for redirects, cookies and proxies, none of which
	// there are to be, and copy the headers for them.
	transport *http.Transport
}

// Dialer reaches what users name: public addresses only, unless the settings allow
// others.
func Dialer(settings Settings) *net.Dialer {
	dialer := &net.Dialer{Timeout: dialTimeout}
	if !settings.AllowPrivate {
		// Control sees the address after the name was resolved, just before it is
		// dialled: a name that resolves differently the second time gains nothing.
		dialer.ControlContext = refusePrivate
	}
	return dialer
}

// New makes a Caller.
func New(settings Settings) *Caller {
	return &Caller{&http.Transport{
		DialContext:            Dialer(settings).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConnsPerHost:    256, // as many as a dispatcher has calls under way
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxAnswerHeader,
		DisableCompression:     true, // the answer's body is not looked at
		ForceAttemptHTTP2:      true,
	}}
}

// Call invokes the container for an event: nil after a 2xx, else a *Failure. It
// takes at most the container's timeout, the answer's body included.
func (c *Caller) Call(ctx context.Context, route *Route, event Event) error {
	if route.err != nil {
		return &Failure{Message: "the container's endpoint is not a valid URL"}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, route.timeout, route.late)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, route.method, "", bytes.NewReader(event.Body))
	if err != nil {
		return &Failure{Message: "the request could not be made"}
	}
	request.URL, request.Host = route.url, route.url.Host
	request.Header = route.headers(ctx, event)

	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return failureOf(ctx, err)
	}
	defer response.Body.Close()
	// Reading to the end lets the connection be used again.
	if response.Body != http.NoBody {
		if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswerBody)); err != nil && ctx.Err() != nil {
			return failureOf(ctx, err)
		}
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return refusal(response)
	}
	return nil
}

// Route is the way to a trigger's container: what is the same for all its events.
// Make it once for many calls.
type Route struct {
	url     *url.URL
	err     error // why there is no url
	method  string
	source  string // of the CloudEvents
	timeout time.Duration
	late    error  // the cause of a call that took longer
	token   string // "" where none is sent
}

// NewRoute makes the route of a trigger to its container. The token, where there is
// one, goes to a private container alone.
func NewRoute(t trigger.Trigger, to container.Container, token secret.Text) *Route {
	r := &Route{
		method: strings.ToUpper(t.Destination.HTTPMethod), source: t.Path(),
		timeout: to.Timeout, late: timeoutError{to.Timeout},
	}
	r.url, r.err = destination(to.PublicEndpoint, t.Destination.HTTPPath)
	if to.Privacy == container.Private {
		r.token = string(token)
	}
	return r
}

// destination is the endpoint with the trigger's path and query behind it. The
// path was checked when it was stored; it cannot lead to another host, because
// only path and query of it are used.
func destination(endpoint, path string) (*url.URL, error) {
	base, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("reading the endpoint: %w", err)
	}
	relative, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, fmt.Errorf("reading the path: %w", err)
	}
	target := url.URL{Scheme: base.Scheme, Host: base.Host}
	escaped := strings.TrimSuffix(base.EscapedPath(), "/") + relative.EscapedPath()
	if target.Path, err = url.PathUnescape(escaped); err != nil {
		return nil, fmt.Errorf("joining the paths: %w", err)
	}
	target.RawPath, target.RawQuery = escaped, escapeQuery(relative.RawQuery)
	return &target, nil
}

// escapeQuery percent-encodes what a request line cannot hold, and leaves alone
// what is encoded already.
func escapeQuery(query string) string {
	var escaped strings.Builder
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' {
			fmt.Fprintf(&escaped, "%%%02X", c)
		} else {
			escaped.WriteByte(c)
		}
	}
	return escaped.String()
}
