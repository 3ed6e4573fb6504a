// Package invoke calls a trigger's container over HTTP and classifies the answer. The
// dispatchers of all sources use it.
//
// It does not trust the container's endpoint. It follows no redirect and uses no proxy. The
// address that it dials must be public, unless the deployment allows others. It limits the
// size of the answer and the time of the call.
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

	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

// Event is an event of a source, which the container receives as a CloudEvent.
type Event struct {
	// ID is the CloudEvents ID. Retries have the same ID, so a container can use it to
	// deduplicate events.
	ID string
	// Type is the CloudEvents type.
	Type string
	// Time is the scheduled time of an occurrence, or the time at which a message was sent.
	Time time.Time
	// Subject is the CloudEvents subject. It is empty if the source has none.
	Subject string
	// Header has the headers of the trigger's config or of the message. A call remaps the
	// names that it cannot send as they are, for example those of the connection.
	Header http.Header
	Body   []byte
}

const (
	// A call fails if the headers of the answer exceed maxAnswerHeader. It does not read
	// the body beyond maxAnswerBody.
	maxAnswerHeader = 64 << 10
	maxAnswerBody   = 64 << 10

	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	// idleTimeout is less than the time after which common servers close an idle connection
	// (gunicorn 2 s, Node and uvicorn 5 s). Lambda freezes a function between its runs, so
	// that it does not see a connection being closed. A call on such a connection would fail.
	// The transport compares wall-clock times before it uses a connection again, and so it
	// notices how long the function was frozen.
	idleTimeout = time.Second
)

// Settings are the deployment's settings for calls, which a function reads from its
// environment.
type Settings struct {
	// AllowPrivate allows private and other addresses that are not public. On Lambda it does
	// not allow loopback and link-local addresses.
	AllowPrivate bool `env:"ALLOW_PRIVATE_ENDPOINTS" envDefault:"false"`
	// RuntimeAPI is where a function's runtime API listens. Lambda sets it, and so do local
	// clouds.
	RuntimeAPI string `env:"AWS_LAMBDA_RUNTIME_API"`
	// Emulator is the endpoint of the AWS emulator of a local cloud, where containers may
	// have loopback addresses. It is empty on AWS.
	Emulator string `env:"AWS_ENDPOINT_URL"`
}

// Client calls containers. It keeps connections open between calls, and is safe for
// concurrent use.
type Client struct {
	// A Transport, not a Client: redirects, cookies and proxies are not allowed, and a
	// Client copies the headers to support them.
	transport *http.Transport
}

// Dialer returns a dialer for hosts in users' configs. It refuses the addresses that the
// settings do not allow.
func Dialer(settings Settings) *net.Dialer {
	// ControlContext checks the resolved address right before the dialer connects to it. A
	// check of the name's addresses would be useless, because the name could resolve to
	// another address a moment later.
	return &net.Dialer{Timeout: dialTimeout, ControlContext: settings.control}
}

// New returns a client.
func New(settings Settings) *Client {
	return &Client{&http.Transport{
		DialContext:            Dialer(settings).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConnsPerHost:    256, // the most calls that a dispatcher makes at the same time
		MaxIdleConns:           224, // of the 1,024 files that a function may have open
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxAnswerHeader,
		DisableCompression:     true, // the client discards the answer's body
		ForceAttemptHTTP2:      true,
	}}
}

// Call calls the container for an event. It returns nil after a 2xx, and a *[Failure]
// otherwise. The answer's status must arrive within the container's timeout.
func (c *Client) Call(ctx context.Context, route *Route, event Event) error {
	_, _, err := c.CallAndKeep(ctx, route, event, func(int) bool { return false })
	return err
}

// CallAndKeep calls the container as Call does. It also returns the status code of the
// answer, which is 0 if there was none, and the part of the answer that a run keeps if keep
// returns true for the status code. In it the container's token is replaced, because a
// container may answer what it got.
func (c *Client) CallAndKeep(ctx context.Context, route *Route, event Event, keep func(status int) bool) (status int, kept run.Answer, err error) {
	status, header, err := c.call(ctx, route, event, func(status int, body io.Reader) {
		if !keep(status) {
			_, _ = io.Copy(io.Discard, body)
			return
		}
		// A token that begins within the part that is kept must be found as a whole.
		start, _ := io.ReadAll(io.LimitReader(body, int64(run.MaxAnswer+len(route.token))))
		kept.Body = run.Text(start)
		if more, _ := io.Copy(io.Discard, body); more > 0 {
			kept.Truncated = true
		}
	})
	if !keep(status) {
		return status, run.Answer{}, err
	}
	for _, name := range []string{run.ContentType, run.RetryAfter} {
		if value := header.Get(name); value != "" {
			if kept.Header == nil {
				kept.Header = map[string]string{}
			}
			kept.Header[name] = run.Cut(route.hideToken(run.Text([]byte(value))), run.MaxAnswerHeader)
		}
	}
	kept.Body = route.hideToken(kept.Body)
	return status, kept.Truncate(run.MaxAnswer), err
}

// call calls the container for an event, and lets read read the first maxAnswerBody bytes of
// the answer's body. It returns the answer's status code and headers, or 0 and nil if there
// was no answer.
func (c *Client) call(ctx context.Context, route *Route, event Event, read func(status int, body io.Reader)) (status int, header http.Header, err error) {
	if route.err != nil {
		return 0, nil, &Failure{Message: "the container's endpoint is not a valid URL"}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, route.timeout, route.timeoutCause)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, route.method, "", bytes.NewReader(event.Body))
	if err != nil {
		return 0, nil, &Failure{Message: "the request could not be made"}
	}
	request.URL, request.Host = route.url, route.url.Host
	request.Header = route.headers(ctx, event)

	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return 0, nil, failureOf(ctx, err)
	}
	defer response.Body.Close()
	// Only the status counts, even if the body is incomplete or continues beyond the timeout.
	// Reading the body to its end makes the connection reusable, and lets a container that
	// streams its answer finish.
	read(response.StatusCode, io.LimitReader(response.Body, maxAnswerBody))
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return response.StatusCode, response.Header, refusal(response)
	}
	return response.StatusCode, response.Header, nil
}

// Route has the parts of a call that are the same for all events of a trigger. A caller
// should reuse it.
type Route struct {
	url          *url.URL
	err          error // why url is nil
	method       string
	source       string // the CloudEvents source
	timeout      time.Duration
	timeoutCause error       // the cause of a context that ends after timeout
	token        string      // "" for a call without a token
	own          http.Header // those of ownHeaders, which each call clones
}

// NewRoute returns the route of a trigger to its container. Calls send the token only if
// the container is private.
func NewRoute(t trigger.Trigger, to container.Container, token secret.Text) *Route {
	r := &Route{
		method: strings.ToUpper(t.Destination.HTTPMethod), source: t.Path(),
		timeout: to.Timeout, timeoutCause: timeoutError{to.Timeout},
	}
	r.url, r.err = destination(to.PublicEndpoint, t.Destination.HTTPPath)
	if to.Privacy == container.Private {
		r.token = string(token)
	}
	r.own = r.ownHeaders()
	return r
}

// hideToken replaces the container's token in a text.
func (r *Route) hideToken(text string) string {
	if r.token == "" {
		return text
	}
	return strings.ReplaceAll(text, r.token, "[token]")
}

// destination returns the endpoint with the trigger's path and query appended. The path
// cannot lead to another host, because destination uses only its path and query.
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
	escaped := escape(strings.TrimSuffix(rawPath(base), "/") + rawPath(relative))
	if target.Path, err = url.PathUnescape(escaped); err != nil {
		return nil, fmt.Errorf("joining the paths: %w", err)
	}
	target.RawPath, target.RawQuery = escaped, escape(relative.RawQuery)
	return &target, nil
}

// rawPath returns the path as it was in the text of the URL. EscapedPath would decode the
// whole path, including encoded slashes, if one character of it needs to be encoded.
func rawPath(u *url.URL) string {
	if u.RawPath != "" {
		return u.RawPath
	}
	return u.EscapedPath()
}

// escape percent-encodes the characters that a request line's path or query must not
// contain (RFC 3986, sections 3.3 and 3.4). It does not encode percent signs, so that
// encoded characters stay as they are.
func escape(text string) string {
	return percentEncode(text, func(c byte) bool {
		return strings.IndexByte("%/?:@-._~!$&'()*+,;=", c) < 0 && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
}
