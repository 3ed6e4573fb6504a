package invoke

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// serveNames is a DNS server that gives the n-th answer to the n-th question for a
// name, the last one from then on, and knows no other name.
func serveNames(t *testing.T, names map[string][][]string) *net.Resolver {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	go func() {
		asked := map[string]int{}
		for buffer := make([]byte, 1500); ; {
			n, from, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer := answerName(buffer[:n], names, asked); answer != nil {
				_, _ = socket.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", socket.LocalAddr().String())
	}}
}

func answerName(question []byte, names map[string][][]string, asked map[string]int) []byte {
	var message dnsmessage.Message
	if message.Unpack(question) != nil || len(message.Questions) != 1 {
		return nil
	}
	asks := message.Questions[0]
	message.Response, message.Additionals = true, nil
	answers, known := names[strings.ToLower(strings.TrimSuffix(asks.Name.String(), "."))]
	if !known {
		message.RCode = dnsmessage.RCodeNameError
	}
	key := asks.Name.String() + asks.Type.String()
	for _, text := range answersAt(answers, asked[key]) {
		address := netip.MustParseAddr(text)
		header := dnsmessage.ResourceHeader{Name: asks.Name, Type: asks.Type, Class: dnsmessage.ClassINET}
		switch {
		case asks.Type == dnsmessage.TypeA && address.Is4():
			message.Answers = append(message.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}})
		case asks.Type == dnsmessage.TypeAAAA && address.Is6():
			message.Answers = append(message.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}})
		}
	}
	asked[key]++
	packed, err := message.Pack()
	if err != nil {
		return nil
	}
	return packed
}

func answersAt(answers [][]string, n int) []string {
	if len(answers) == 0 {
		return nil
	}
	return answers[min(n, len(answers)-1)]
}

func TestCall_RefusesHostileDestinations(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(inside.Close)
	port := inside.URL[strings.LastIndex(inside.URL, ":")+1:]
	const private, unknown = "is not public", "does not resolve"
	names := map[string][][]string{
		"loopback.test": {{"127.0.0.1"}}, "loopback6.test": {{"::1"}}, "mapped.test": {{"::ffff:127.0.0.1"}},
		"metadata.test": {{"169.254.169.254"}}, "metadata6.test": {{"fd00:ec2::254"}}, "credentials.test": {{"169.254.170.2"}},
		"ten.test": {{"10.1.2.3"}}, "cgnat.test": {{"100.64.1.1"}}, "unspecified.test": {{"0.0.0.0"}}, "nat64.test": {{"64:ff9b::a9fe:a9fe"}},
		"all-private.test": {{"10.0.0.1", "127.0.0.1", "169.254.169.254"}}, "both-families.test": {{"127.0.0.1", "::1"}},
		// It resolves to something else each time: what is dialed is what counts.
		"rebinding.test": {{"169.254.169.254"}, {"127.0.0.1"}}, "documentation.test": {{"192.0.2.1"}}, "broadcast.test": {{"255.255.255.255"}},
		"nothing.test": {{}},
	}
	refused := map[string]string{}
	// Literal addresses, in all the ways that programs read them.
	for _, host := range []string{
		"127.0.0.1", "127.0.0.2", "127.255.255.255", "0.0.0.0", "0.0.0.1", "10.0.0.1", "10.255.255.254", "100.64.0.1", "100.100.100.200",
		"169.254.0.1", "169.254.169.254", "169.254.169.253", "169.254.170.2", "169.254.170.23", "172.16.0.1", "172.31.255.255",
		"192.0.0.192", "192.168.0.1", "192.168.255.255", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		"[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]",
		"[::ffff:10.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2001::1]",
		"[fc00::1]", "[fd00:ec2::254]", "[fd00:ec2::23]", "[fe80::1]", "[fe80::a9fe:a9fe]", "[fec0::1]", "[ff02::1]", "[ff05::1]", "[100::1]",
		"loopback.test", "LOOPBACK.test", "loopback.test.", "loopback6.test", "mapped.test", "metadata.test", "metadata6.test", "credentials.test",
		"ten.test", "cgnat.test", "unspecified.test", "nat64.test", "all-private.test", "both-families.test", "rebinding.test",
		"documentation.test", "broadcast.test", "localhost", "LocalHost",
	} {
		refused[host] = private
	}
	// Numbers that only some programs take for addresses are names here, of nobody.
	for _, host := range []string{"127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "127.0.0.1.nip.test", "metadata.google.internal"} {
		refused[host] = unknown
	}
	refused["nothing.test"] = "could not be looked up"
	if len(refused) < 60 {
		t.Errorf("only %d destinations", len(refused))
	}
	caller := New(Settings{})
	dialer := Dialer(Settings{})
	dialer.Resolver = serveNames(t, names)
	caller.transport.DialContext = dialer.DialContext
	for host, want := range refused {
		for _, scheme := range []string{"http", "https"} {
			endpoint := scheme + "://" + host + ":" + port
			tr, to, event := sample(endpoint)
			err := caller.Call(t.Context(), NewRoute(tr, to, "token"), event)
			if failure, ok := errors.AsType[*Failure](err); !ok || !strings.Contains(failure.Message, want) {
				t.Errorf("%s: got %v, want %q", endpoint, err, want)
			}
		}
	}
	if reached.Load() > 0 {
		t.Errorf("the server inside was called %d times", reached.Load())
	}
}

func TestCall_FollowsNoRedirect(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(inside.Close)
	for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308} {
		for _, location := range []string{inside.URL, "//" + strings.TrimPrefix(inside.URL, "http://"), "/", "http://169.254.169.254/", "file:///etc/passwd", "gopher://127.0.0.1/"} {
			asked := 0
			outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.Header()["Location"] = []string{location}
				w.WriteHeader(status)
			}))
			tr, to, event := sample(outside.URL)
			err := New(Settings{AllowPrivate: true}).Call(t.Context(), NewRoute(tr, to, ""), event)
			outside.Close()
			want := "redirects are not followed"
			if status == 300 || status == 304 || status == 305 {
				want = "only a 2xx is success"
			}
			if err == nil || !strings.HasSuffix(err.Error(), want) || asked != 1 {
				t.Errorf("%d to %q: got %v, and %d calls", status, location, err, asked)
			}
		}
	}
	if reached.Load() > 0 {
		t.Error("a redirect was followed")
	}
}

func TestCall_BoundsAndFailsAbsurdAnswers(t *testing.T) {
	t.Parallel()
	const invalid, late = "the container did not give a valid HTTP answer", "the container did not answer within 0.5s"
	endless := func(head, piece string) func(net.Conn) {
		return func(c net.Conn) {
			fmt.Fprint(c, head)
			for {
				if _, err := fmt.Fprint(c, piece); err != nil {
					return
				}
			}
		}
	}
	drip := func(head, piece string) func(net.Conn) {
		return func(c net.Conn) {
			fmt.Fprint(c, head)
			for ticker := time.NewTicker(20 * time.Millisecond); ; <-ticker.C {
				if _, err := fmt.Fprint(c, piece); err != nil {
					return
				}
			}
		}
	}
	say := func(text string) func(net.Conn) { return func(c net.Conn) { fmt.Fprint(c, text) } }
	for name, test := range map[string]struct {
		say  func(net.Conn)
		want string // "" is success
	}{
		"nothing at all":            {say(""), "closed the connection without an answer"},
		"an endless status line":    {endless("HTTP/1.1 200 ", strings.Repeat("x", 1000)), invalid},
		"an endless header":         {endless("HTTP/1.1 200 OK\r\nX: ", strings.Repeat("x", 1000)), invalid},
		"a header beyond 64 KiB":    {say("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n"), invalid},
		"endless interim answers":   {endless("", "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"), invalid},
		"a status line that drips":  {drip("HTTP/1.1 200 ", "x"), late},
		"headers that drip":         {drip("HTTP/1.1 200 OK\r\n", "X-A: 1\r\n"), late},
		"a body that drips":         {drip("HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", "x"), ""},
		"chunks that drip":          {drip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), ""},
		"a body that breaks off":    {say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), ""},
		"endless chunks":            {endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "400\r\n"+strings.Repeat("x", 1024)+"\r\n"), ""},
		"a failure without end":     {endless("HTTP/1.1 500 No\r\n\r\n", strings.Repeat("x", 1000)), "answered 500"},
		"no version":                {say("200 OK\r\n\r\n"), invalid},
		"a version that is none":    {say("HTTP/one 200 OK\r\n\r\n"), invalid},
		"a status that is a word":   {say("HTTP/1.1 fine OK\r\n\r\n"), invalid},
		"a negative status":         {say("HTTP/1.1 -200 OK\r\n\r\n"), invalid},
		"a status of four digits":   {say("HTTP/1.1 2000 OK\r\n\r\n"), invalid},
		"a protocol switch":         {say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), "answered 101"},
		"a negative length":         {say("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"), invalid},
		"two lengths":               {say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), invalid},
		"a header without a colon":  {say("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"), invalid},
		"a header with a line feed": {say("HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n"), ""},
		"HTTP/0.9":                  {say("<html>hello</html>"), invalid},
		"an absurd Retry-After":     {say("HTTP/1.1 503 No\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n"), "answered 503"},
		"binary":                    {say("\x16\x03\x01\x00\x00"), "without an answer|" + invalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr, to, event := sample(speak(t, test.say))
			to.Timeout = 500 * time.Millisecond
			if !strings.Contains(test.want, "within") && !strings.HasSuffix(name, "drip") && !strings.HasSuffix(name, "drips") {
				to.Timeout = 20 * time.Second
			}
			err := New(Settings{AllowPrivate: true}).Call(t.Context(), NewRoute(tr, to, ""), event)
			if test.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			for want := range strings.SplitSeq(test.want, "|") {
				if err != nil && strings.Contains(err.Error(), want) {
					return
				}
			}
			t.Errorf("got %v, want %s", err, test.want)
		})
	}
}

// FuzzHeaders looks for a header by which a source forges another, or another
// request.
func FuzzHeaders(f *testing.F) {
	for _, seed := range [][2]string{
		{"X-A", "1"}, {"X-A\r\nX-Forged", "1"}, {"X-A", "1\r\nX-Forged: 1"}, {"X-A", "1\nX-Forged: 1"}, {"X-A: 1\r\n\r\nGET /", "x"},
		{"Content-Length", "0"}, {"transfer-encoding", "chunked"}, {"HOST", "x"}, {"Connection", "X-Auth-Token"}, {"X\u00e9", "\u00e9"}, {"", ""}, {" X", "\x00"},
	} {
		f.Add(seed[0], seed[1], seed[1])
	}
	requests := make(chan *http.Request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { requests <- r }))
	f.Cleanup(server.Close)
	caller := New(Settings{AllowPrivate: true})
	f.Fuzz(func(t *testing.T, name, value, id string) {
		tr, to, event := sample(server.URL)
		event.Header, event.Body = http.Header{name: {value}}, []byte("body")
		event.ID, event.Subject = id, id
		if err := caller.Call(t.Context(), NewRoute(tr, to, ""), event); err != nil {
			t.Fatalf("a header broke the call: %v", err)
		}
		r := <-requests
		if r.Method != http.MethodPost || r.RequestURI != "/" || r.ContentLength != 4 || r.Host != strings.TrimPrefix(server.URL, "http://") {
			t.Errorf("%q: %q makes it %s %s of %d bytes to %s", name, value, r.Method, r.RequestURI, r.ContentLength, r.Host)
		}
		for got := range r.Header {
			switch {
			case strings.HasPrefix(got, "Ce-"), got == "Content-Type", got == "Content-Length", got == "User-Agent", got == "Accept-Encoding", strings.EqualFold(got, name), strings.HasPrefix(got, remappedPrefix):
			default:
				t.Errorf("%q: %q makes the header %q", name, value, got)
			}
		}
	})
}
