package invoke

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

// lambdaKey is the key that Lambda's runtime uses, a plain string.
var lambdaKey any = traceHeader

func sample(endpoint string) (trigger.Trigger, container.Container, Event) {
	t := trigger.Trigger{ID: "8f5d9521-e950-41e0-b980-b85131050aff", Region: "fr-par", Destination: trigger.Destination{HTTPPath: "/", HTTPMethod: "post"}}
	c := container.Container{PublicEndpoint: endpoint, Privacy: container.Public, Timeout: 30 * time.Second}
	return t, c, Event{ID: "id", Type: "containertriggers.cron", Time: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), Header: http.Header{}}
}

// record serves a container that hands over the requests it gets.
func record(t *testing.T) (endpoint string, requests <-chan *http.Request) {
	t.Helper()
	seen := make(chan *http.Request, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		seen <- r
	}))
	t.Cleanup(server.Close)
	return server.URL, seen
}

func TestCall_PassesPathAndQueryUnchanged(t *testing.T) {
	t.Parallel()
	endpoint, requests := record(t)
	caller := New(Settings{AllowPrivate: true})
	for _, test := range []struct{ base, path, want string }{
		{"", "/", "/"},
		{"/", "/hook", "/hook"},
		{"/app/", "/hook?a=1&b=%20", "/app/hook?a=1&b=%20"},
		{"/a%2Fb", "/c%2Fd", "/a%2Fb/c%2Fd"},
		{"", "/caf\u00e9?q=caf\u00e9", "/caf%C3%A9?q=caf%C3%A9"},
		{"", "/?", "/"},
		{"", "/a[1]{2}|^`?b[]={c}|^`", "/a%5B1%5D%7B2%7D%7C%5E%60?b%5B%5D=%7Bc%7D%7C%5E%60"},
		{"", "/a%2Fb{c}?d=%5B%7b&e=[", "/a%2Fb%7Bc%7D?d=%5B%7b&e=%5B"},
		{"/x%2Fy[z]", "/<\">?<\">", "/x%2Fy%5Bz%5D/%3C%22%3E?%3C%22%3E"},
		{"", "/-._~!$&'()*+,;=:@?-._~!$&'()*+,;=:@/?", "/-._~!$&'()*+,;=:@?-._~!$&'()*+,;=:@/?"},
	} {
		tr, to, event := sample(endpoint + test.base)
		tr.Destination.HTTPPath = test.path
		if err := caller.Call(t.Context(), NewRoute(tr, to, ""), event); err != nil {
			t.Fatal(err)
		}
		if got := (<-requests).RequestURI; got != test.want {
			t.Errorf("%s + %s: got %s, want %s", test.base, test.path, got, test.want)
		}
	}
}

func TestCall_DropsConnectionHeadersAndForgedOnes(t *testing.T) {
	t.Parallel()
	endpoint, requests := record(t)
	tr, to, event := sample(endpoint)
	tr.Destination.HTTPMethod = "delete"
	event.Body, event.Subject = []byte("é"), "a \"b\" é%"
	event.Header = http.Header{
		"X-Mine": {"1"}, "Content-Length": {"999"}, "Host": {"evil.example"}, "Connection": {"close, X-Hop"}, "X-Hop": {"1"},
		"Transfer-Encoding": {"chunked"}, "Keep-Alive": {"1"}, "Te": {"trailers"}, "Upgrade": {"h2c"}, "Proxy-Authorization": {"x"},
		"Trailer": {"X"}, "Ce-Id": {"forged"}, "Ce-Source": {"forged"}, "User-Agent": {"forged"}, "Bad Name": {"x"}, "X-Bad": {"a\r\nX-Evil: 1"},
		"Traceparent": {"mine"}, "X-Auth-Token": {"the user's own"},
	}
	ctx := context.WithValue(t.Context(), lambdaKey, "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1")
	if err := New(Settings{AllowPrivate: true}).Call(ctx, NewRoute(tr, to, "secret of a private container"), event); err != nil {
		t.Fatal(err)
	}
	r := <-requests
	want := map[string]string{
		"X-Mine": "1", "Content-Length": "2", "User-Agent": userAgent, "Content-Type": "text/plain; charset=utf-8",
		"Ce-Id": "id", "Ce-Specversion": "1.0", "Ce-Source": "/containers/v1/regions/fr-par/triggers/" + tr.ID,
		"Ce-Type": "containertriggers.cron", "Ce-Time": "2026-11-23T10:00:00Z", "Ce-Subject": "a%20%22b%22%20%C3%A9%25",
		"Traceparent": "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01", "X-Auth-Token": "the user's own",
		"X-Bad": "UTF-8''a%0D%0AX-Evil%3A%201", "X-Remapped-Bad%20name": "x",
		"X-Remapped-Ce-Id": "forged", "X-Remapped-Ce-Source": "forged", "X-Remapped-User-Agent": "forged", "X-Remapped-Traceparent": "mine",
		"X-Remapped-Content-Length": "999", "X-Remapped-Host": "evil.example", "X-Remapped-Connection": "close, X-Hop", "X-Remapped-X-Hop": "1",
		"X-Remapped-Transfer-Encoding": "chunked", "X-Remapped-Keep-Alive": "1", "X-Remapped-Te": "trailers", "X-Remapped-Upgrade": "h2c",
		"X-Remapped-Proxy-Authorization": "x", "X-Remapped-Trailer": "X",
	}
	for name, value := range want {
		if got := r.Header.Get(name); got != value {
			t.Errorf("%s: got %q, want %q", name, got, value)
		}
	}
	for name := range r.Header {
		if _, ok := want[name]; !ok {
			t.Errorf("%s was sent: %q", name, r.Header[name])
		}
	}
	if r.Method != http.MethodDelete || r.Host != strings.TrimPrefix(endpoint, "http://") {
		t.Errorf("got %s on %s", r.Method, r.Host)
	}
}

func TestCall_SendsTheTokenToPrivateContainersOnly(t *testing.T) {
	t.Parallel()
	endpoint, requests := record(t)
	caller := New(Settings{AllowPrivate: true})
	for privacy, want := range map[container.Privacy]string{container.Public: "", container.Private: "token"} {
		tr, to, event := sample(endpoint)
		to.Privacy = privacy
		if err := caller.Call(t.Context(), NewRoute(tr, to, secret.Text("token")), event); err != nil {
			t.Fatal(err)
		}
		if got := (<-requests).Header.Get("X-Auth-Token"); got != want {
			t.Errorf("%s: got %q", privacy, got)
		}
	}
}

func TestCall_DerivesTheContentTypeFromTheBody(t *testing.T) {
	t.Parallel()
	endpoint, requests := record(t)
	for body, want := range map[string]string{
		"": "", `{"a":1}`: "application/json", "null": "application/json", "plain": "text/plain; charset=utf-8", "\xff": "application/octet-stream",
	} {
		tr, to, event := sample(endpoint)
		event.Body = []byte(body)
		if err := New(Settings{AllowPrivate: true}).Call(t.Context(), NewRoute(tr, to, ""), event); err != nil {
			t.Fatal(err)
		}
		if got := (<-requests).Header.Get("Content-Type"); got != want {
			t.Errorf("%q: got %q, want %q", body, got, want)
		}
	}
}

// speak serves raw TCP: what a container may do that no HTTP library would.
func speak(t *testing.T, say func(net.Conn)) (endpoint string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				if _, err := http.ReadRequest(bufio.NewReader(connection)); err == nil {
					say(connection)
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// hang keeps a connection open until the other side closes it.
func hang(connection net.Conn) { _, _ = connection.Read(make([]byte, 1)) }

func TestCall_ExplainsFailuresToTheOwner(t *testing.T) {
	t.Parallel()
	status := func(code int, header ...string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	const closedWithoutAnswer = "the container closed the connection without an answer"
	untrusted := httptest.NewTLSServer(nil)
	t.Cleanup(untrusted.Close)

	for name, test := range map[string]struct {
		endpoint, want string
		private        bool
		code           int
	}{
		"an error":                        {status(503), "the container answered 503 Service Unavailable", true, 503},
		"a redirect":                      {status(307, "Location", "http://127.0.0.1:1/"), "the container answered 307 Temporary Redirect, and redirects are not followed", true, 307},
		"an odd status":                   {status(599), "the container answered 599", true, 599},
		"nobody":                          {"http://127.0.0.1:1", "the container refuses connections", true, 0},
		"a loopback address":              {status(200), "the container's address 127.0.0.1 is not public", false, 0},
		"a loopback name":                 {strings.Replace(status(200), "127.0.0.1", "localhost", 1), "is not public", false, 0},
		"a decimal address":               {"http://2130706433/", "", false, 0},
		"metadata":                        {"http://169.254.169.254/latest/meta-data", "the container's address 169.254.169.254 is not public", false, 0},
		"mapped metadata":                 {"http://[::ffff:169.254.169.254]/", "is not public", false, 0},
		"an untrusted server":             {untrusted.URL, "the container's certificate is not trusted", true, 0},
		"no TLS":                          {strings.Replace(status(200), "http://", "https://", 1), "the container does not speak TLS", true, 0},
		"no HTTP":                         {speak(t, func(c net.Conn) { fmt.Fprint(c, "220 mail.example ESMTP\r\n") }), "the container did not give a valid HTTP answer", true, 0},
		"silence":                         {speak(t, hang), "the container did not answer within 0.2s", true, 0},
		"half an answer":                  {speak(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-"); hang(c) }), "the container did not answer within 0.2s", true, 0},
		"not modified":                    {status(304), "the container answered 304 Not Modified, and only a 2xx is success", true, 304},
		"several choices":                 {status(300), "the container answered 300 Multiple Choices, and only a 2xx is success", true, 300},
		"an odd 3xx":                      {status(399), "the container answered 399, and only a 2xx is success", true, 399},
		"no final answer":                 {speak(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n") }), "the container answered 101 Switching Protocols, which is not a final answer", true, 101},
		"a close after the request":       {speak(t, func(net.Conn) {}), closedWithoutAnswer, true, 0},
		"a close in the status line":      {speak(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 20") }), "the container did not give a valid HTTP answer", true, 0},
		"a close in the headers":          {speak(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-") }), "the container did not give a valid HTTP answer", true, 0},
		"a close after an interim answer": {speak(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 103 Early Hints\r\n\r\n") }), closedWithoutAnswer, true, 0},
		"a close in the TLS handshake":    {strings.Replace(speak(t, func(net.Conn) {}), "http://", "https://", 1), closedWithoutAnswer, true, 0},
		"a reset": {speak(t, func(c net.Conn) {
			_ = c.(*net.TCPConn).SetLinger(0)
		}), closedWithoutAnswer, true, 0},
		"a failure whose body drips": {speak(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nx"); hang(c) }), "the container answered 500 Internal Server Error", true, 500},
		"endless headers": {speak(t, func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(c, "X-%d: %s\r\n", i, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		}), "the container did not give a valid HTTP answer", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr, to, event := sample(test.endpoint)
			if strings.Contains(test.want, "within") || strings.HasSuffix(name, "drips") {
				to.Timeout = 200 * time.Millisecond
			}
			err := New(Settings{AllowPrivate: test.private}).Call(t.Context(), NewRoute(tr, to, ""), event)
			failure, ok := errors.AsType[*Failure](err)
			if !ok || !strings.Contains(failure.Message, test.want) || failure.StatusCode != test.code || failure.Reason != reasonOf(test.want, test.code) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// reasonOf returns the reason of the failures of TestCall_ExplainsFailuresToTheOwner.
func reasonOf(message string, code int) run.Reason {
	switch {
	case code != 0:
		return run.HTTPStatus
	case strings.Contains(message, "within"):
		return run.Timeout
	case strings.Contains(message, "is not public"):
		return run.AddressRefused
	case strings.Contains(message, "TLS"), strings.Contains(message, "certificate"):
		return run.TLS
	case strings.Contains(message, "valid URL"):
		return ""
	}
	return run.Connection
}

func TestCall_StopsReadingAnEndlessAnswer(t *testing.T) {
	t.Parallel()
	stopped := make(chan struct{})
	endpoint := speak(t, func(c net.Conn) {
		defer close(stopped)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
		for {
			if _, err := c.Write(make([]byte, 10_000)); err != nil {
				return
			}
		}
	})
	tr, to, event := sample(endpoint)
	if err := New(Settings{AllowPrivate: true}).Call(t.Context(), NewRoute(tr, to, ""), event); err != nil {
		t.Errorf("a 2xx with an endless body: %v", err)
	}
	<-stopped
}

func TestCall_CutOffByTheRunDoesNotBlameTheContainer(t *testing.T) {
	t.Parallel()
	tr, to, event := sample(speak(t, hang))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := New(Settings{AllowPrivate: true}).Call(ctx, NewRoute(tr, to, ""), event)
	if err == nil || err.Error() != "the call was cut off because the function had no time left" {
		t.Errorf("got %v", err)
	}
}

func TestRetryAfter_ReadsSecondsAndDates(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "007": 7 * time.Second, "1.5": 1500 * time.Millisecond, "2.": 2 * time.Second, "-7": 0, "-0.5": 0, "+7": 0,
		"soon": 0, "1e3": 0, ".5": 0, "1,5": 0, "7s": 0, "0x10": 0, "NaN": 0, "Inf": 0,
		"31536001": longestRetryAfter, "99999999999999": longestRetryAfter, strings.Repeat("9", 400): longestRetryAfter, strings.Repeat("9", 30) + ".5": longestRetryAfter,
		"Fri, 31 Dec 9999 23:59:59 GMT": longestRetryAfter, "Monday, 23-Nov-26 10:01:00 GMT": time.Minute, "Mon Nov 23 10:01:00 2026": time.Minute,
		"Mon, 23 Nov 2026 10:01:00 GMT": time.Minute, "Mon, 23 Nov 2026 09:59:00 GMT": 0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}

func TestTraceparent_IsSetIfTheTraceIsSampled(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"": "",
		"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0":             "",
		"Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1":                                     "",
		"Root=1-5759E988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1":             "",
		"Parent=53995c3f42cd8ad8;Sampled=1":                                                      "",
		"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1": "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01",
	} {
		ctx := context.WithValue(t.Context(), lambdaKey, header)
		if got := traceparent(ctx); got != want {
			t.Errorf("%q: got %q", header, got)
		}
	}
}

// BenchmarkCall compares a call with the floor: the same request by net/http.
func BenchmarkCall(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	b.Cleanup(server.Close)
	tr, to, event := sample(server.URL)
	event.Body = []byte(`{"hello":"container"}`)
	b.Run("floor", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			response, err := http.Post(server.URL, "application/json", strings.NewReader(string(event.Body)))
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	})
	b.Run("call", func(b *testing.B) {
		caller := New(Settings{AllowPrivate: true})
		b.ReportAllocs()
		for b.Loop() {
			if err := caller.Call(b.Context(), NewRoute(tr, to, ""), event); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestCallAndKeep_KeepsTheStartOfTheAnswer(t *testing.T) {
	t.Parallel()
	token := uuid.NewString()
	for what, test := range map[string]struct {
		status int
		body   string
		want   run.Answer
	}{
		"a success":                     {200, "done", run.Answer{Body: "done"}},
		"a failure":                     {503, "busy", run.Answer{Body: "busy"}},
		"no body":                       {204, "", run.Answer{}},
		"a body of the limit":           {200, strings.Repeat("x", run.MaxAnswer), run.Answer{Body: strings.Repeat("x", run.MaxAnswer)}},
		"a longer body":                 {200, strings.Repeat("x", run.MaxAnswer+1), run.Answer{Body: strings.Repeat("x", run.MaxAnswer), Truncated: true}},
		"a body beyond what is read":    {200, strings.Repeat("x", 100_000), run.Answer{Body: strings.Repeat("x", run.MaxAnswer), Truncated: true}},
		"no text":                       {200, "a\xffb", run.Answer{Body: "a\uFFFDb"}},
		"the token":                     {401, "bad token " + token, run.Answer{Body: "bad token [token]"}},
		"a token across the limit":      {200, strings.Repeat("x", run.MaxAnswer-5) + token, run.Answer{Body: strings.Repeat("x", run.MaxAnswer-5) + "[toke", Truncated: true}},
		"a character across the limit":  {200, strings.Repeat("x", run.MaxAnswer-1) + "ä", run.Answer{Body: strings.Repeat("x", run.MaxAnswer-1), Truncated: true}},
		"a token in the content header": {200, "", run.Answer{}},
	} {
		content := "text/x-" + what
		if what == "a token in the content header" {
			content = token
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{content}
			w.Header().Set("Retry-After", strings.Repeat("9", 2*run.MaxAnswerHeader))
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		}))
		t.Cleanup(server.Close)
		tr, to, event := sample(server.URL)
		to.Privacy = container.Private
		status, got, err := New(Settings{AllowPrivate: true}).CallAndKeep(t.Context(), NewRoute(tr, to, secret.Text(token)), event, func(int) bool { return true })
		test.want.Header = map[string]string{run.ContentType: strings.ReplaceAll(content, token, "[token]"), run.RetryAfter: strings.Repeat("9", run.MaxAnswerHeader)}
		if status != test.status || !reflect.DeepEqual(got, test.want) || (err == nil) != (test.status < 300) {
			t.Errorf("%s: got %d %+v, %v", what, status, got, err)
		}
	}
}
