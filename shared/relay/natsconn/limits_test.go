package natsconn

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"
)

// deadline is the time that a test waits for an event.
const deadline = 60 * time.Second

// attack is the data of a hostile server: it sends info to each client, and then
// repeats message.
type attack struct{ info, message string }

// serve attacks a client.
func (a attack) serve(conn net.Conn) {
	defer conn.Close()
	_, _ = io.WriteString(conn, a.info)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if lines.Text() != "PING" {
			continue
		}
		_, _ = io.WriteString(conn, "PONG\r\n")
		for {
			if _, err := io.WriteString(conn, a.message); err != nil {
				return
			}
		}
	}
}

// listen calls serve for each connection to the URL that it returns.
func listen(t *testing.T, serve func(net.Conn)) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return "nats://" + listener.Addr().String()
}

// hostileServers start a server with an attack, for each carrier of NATS.
var hostileServers = map[string]func(*testing.T, attack) (url string, roots *x509.CertPool){
	"TCP": func(t *testing.T, a attack) (string, *x509.CertPool) { return listen(t, a.serve), nil },
	"a WebSocket": func(t *testing.T, a attack) (string, *x509.CertPool) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			socket, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			a.serve(websocket.NetConn(context.Background(), socket, websocket.MessageBinary))
		}))
		t.Cleanup(server.Close)
		return "ws" + strings.TrimPrefix(server.URL, "http"), nil
	},
	"TLS from the first byte": func(t *testing.T, a attack) (string, *x509.CertPool) {
		own, roots := certificate(t, "localhost")
		config := &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}
		a.info = strings.Replace(a.info, `"proto":1`, `"proto":1,"tls_required":true`, 1)
		url := listen(t, func(conn net.Conn) { a.serve(tls.Server(conn, config)) })
		return "tls" + strings.Replace(strings.TrimPrefix(url, "nats"), "127.0.0.1", "localhost", 1), roots
	},
}

const anInfo = `INFO {"server_id":"x","version":"2.11.0","proto":1,"headers":true,"max_payload":1048576}` + "\r\n"

func TestConnection_EndsIfTheServerExceedsTheProtocolLimits(t *testing.T) {
	t.Parallel()
	line := strings.Repeat("a", 4096)
	for what, attack := range map[string]attack{
		"a message larger than memory":             {anInfo, "MSG a 1 1000000000000000000\r\nabc"},
		"a message larger than numbers":            {anInfo, "MSG a 1 99999999999999999999999\r\nabc"},
		"a large message":                          {anInfo, "MSG a 1 8388609\r\nabc"},
		"a large message in lower case":            {anInfo, "msg a 1 8388609\r\nabc"},
		"a large message with headers":             {anInfo, "HMSG a 1 12 1000000000000\r\nNATS/1.0\r\n\r\n"},
		"a message of less than nothing":           {anInfo, "MSG a 1 -1\r\n"},
		"a message without a size":                 {anInfo, "MSG a 1 \r\n"},
		"a message behind a message's missing end": {anInfo, "MSG a 1 1\r\nabcdef\nMSG a 1 1000000000000\r\n"},
		"a line without an end":                    {anInfo, "MSG " + line},
		"an error without an end":                  {anInfo, "-ERR " + line},
		"an INFO without an end":                   {anInfo, "INFO {" + line},
		"a first INFO without an end":              {"INFO {" + strings.Repeat("a", maxLine), "+OK\r\n"},
		"a first INFO that is none":                {"HTTP/1.1 400 Bad Request\r\n", "+OK\r\n"},
	} {
		for carrier, start := range hostileServers {
			t.Run(what+" in "+carrier, func(t *testing.T) {
				t.Parallel()
				url, roots := start(t, attack)
				_ = eventualError(t, url, roots, func(err error) bool { return errors.Is(err, ErrProtocolLimit) })
			})
		}
	}
}

// eventualError reconnects until a connection ends with a wanted error, and returns
// that error.
func eventualError(t *testing.T, url string, roots *x509.CertPool, wanted func(error) bool) error {
	t.Helper()
	ended := make(chan error, 100)
	tell := func(_ *nats.Conn, err error) {
		select {
		case ended <- err:
		default:
		}
	}
	conn, err := connect(url, roots, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond),
		nats.DisconnectErrHandler(tell), nats.ReconnectErrHandler(tell))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var last error
	for timeout := time.After(deadline); ; {
		select {
		case last = <-ended:
			if wanted(last) {
				return last
			}
		case <-timeout:
			t.Fatalf("no connection ended with the wanted error; the last one is %v", last)
		}
	}
}

// connect connects to a server with a Dialer.
func connect(url string, roots *x509.CertPool, options ...nats.Option) (*nats.Conn, error) {
	dialer, servers := New(&net.Dialer{}, 5*time.Second, []string{url})
	dialer.roots = roots
	return nats.Connect(servers[0], append(options, nats.SetCustomDialer(dialer), nats.SkipHostLookup(), nats.Timeout(5*time.Second))...)
}

// pieces is a connection whose reads return the given pieces.
type pieces struct {
	net.Conn
	left [][]byte
}

func (p *pieces) Read(into []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(into, p.left[0])
	if p.left[0] = p.left[0][n:]; len(p.left[0]) == 0 {
		p.left = p.left[1:]
	}
	return n, nil
}

func (p *pieces) Close() error { return nil }

func TestLimitedConn_PassesOnWhatIsAdmittedHoweverItIsCut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var sent, want bytes.Buffer
		var admitted []bool // of each message
		write := func(isMessage bool, text string) {
			sent.WriteString(text)
			if isMessage {
				admitted = append(admitted, rapid.Bool().Draw(t, "admitted"))
			}
			if !isMessage || admitted[len(admitted)-1] {
				want.WriteString(text)
			}
		}
		for range rapid.IntRange(1, 20).Draw(t, "protocol messages") {
			payload := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload")
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				write(true, fmt.Sprintf("MSG a.b 1 %d\r\n%s\r\n", len(payload), payload))
			case 1:
				write(true, fmt.Sprintf("MSG a.b 1 reply.to %d\r\n%s\r\n", len(payload), payload))
			case 2:
				write(true, fmt.Sprintf("HMSG a 1 12 %d\r\nNATS/1.0\r\n\r\n%s\r\n", len(payload)+12, payload))
			case 3:
				write(false, "PING\r\n")
			case 4:
				write(false, "-ERR 'MSG a 1 99999999999'\r\n")
			}
		}
		cut := func() (pieces [][]byte) {
			for left := bytes.Clone(sent.Bytes()); len(left) > 0; {
				n := rapid.IntRange(1, len(left)).Draw(t, "piece")
				pieces, left = append(pieces, left[:n]), left[n:]
			}
			return pieces
		}
		read := func(what, want string, admit func(int) bool) {
			conn := &limitedConn{Conn: &pieces{left: cut()}, admit: admit, buffered: []byte("INFO {}\r\n")}
			reader := bufio.NewReaderSize(conn, rapid.IntRange(16, 1000).Draw(t, "room"))
			if got, err := io.ReadAll(reader); err != nil || string(got) != "INFO {}\r\n"+want {
				t.Fatalf("%s: got %q, %v, want %q", what, got, err, want)
			}
		}
		read("everything is admitted", sent.String(), nil)
		asked := 0
		read("some are refused", want.String(), func(int) bool {
			asked++
			return admitted[asked-1]
		})
	})
}

func TestLimitedConn_TellsTheSizeOfWhatIsUnprocessed(t *testing.T) {
	t.Parallel()
	var asked []int
	refuse := map[int]bool{150: true}
	conn := &limitedConn{
		Conn: &pieces{left: [][]byte{
			[]byte("MSG a 1 100\r\n" + strings.Repeat("a", 100) + "\r\nMSG a 1 50\r\n" + strings.Repeat("b", 50) + "\r\nMSG a 1 7\r\nccc"),
			[]byte("cccc\r\nMSG a 1 1\r\nd\r\n"), []byte("MSG a 1 2\r\nee\r\n"),
		}},
		admit: func(unprocessed int) bool {
			asked = append(asked, unprocessed)
			return !refuse[unprocessed]
		},
	}
	if _, err := io.ReadAll(bufio.NewReaderSize(conn, 64<<10)); err != nil || !slices.Equal(asked, []int{100, 150, 107, 8, 2}) {
		t.Errorf("asked about %v, %v", asked, err)
	}
}
