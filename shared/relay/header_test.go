package relay

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"containertriggers/infra/local/natsd"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
)

func TestTrigger_PassesOnEveryHeaderOfAMessage(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	received := make(chan http.Header, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { received <- r.Header }))
	t.Cleanup(server.Close)
	b.to.ID, b.to.PublicEndpoint = uuid.NewString(), server.URL
	if err := b.Containers.Create(t.Context(), b.to); err != nil {
		t.Fatal(err)
	}
	core, stream := b.create("core", ""), b.create("stream", "")
	b.stream("stream")
	b.start(10 * time.Minute)
	b.ready(core)
	b.ready(stream)
	for _, subject := range []string{"core", "stream"} {
		publishRaw(t, b.nats, subject, "Tag: 1\r\ntag: 2\r\nMy Tag: 3\r\nHost: 4\r\nAccent: \u00e9\x01\r\nce-id: 5\r\nCe-Mine: 6\r\nCe-Mine: 7\r\n")
		select {
		case got := <-received:
			for name, want := range map[string][]string{
				"Tag": {"1", "2"}, "X-Remapped-My%20tag": {"3"}, "X-Remapped-Host": {"4"}, "Accent": {"UTF-8''%C3%A9%01"},
				"X-Remapped-Ce-Id": {"5"}, "Ce-Mine": {"6", "7"},
			} {
				if !slices.Equal(got[name], want) {
					t.Errorf("%s: %s is %q, want %q", subject, name, got[name], want)
				}
			}
		case <-time.After(deadline):
			t.Fatalf("%s: no call", subject)
		}
	}
}

// publishRaw publishes a message with headers that nats.go refuses to send.
func publishRaw(t *testing.T, to *natsd.Server, subject, headers string) {
	t.Helper()
	raw, err := net.Dial("tcp", to.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	block := "NATS/1.0\r\n" + headers + "\r\n"
	_, err = fmt.Fprintf(raw, "CONNECT {\"headers\":true,\"verbose\":false}\r\nHPUB %s %d %d\r\n%sx\r\n", subject, len(block), len(block)+1, block)
	if err != nil {
		t.Fatal(err)
	}
}

// logged receives each line of a log.
type logged chan string

func (l logged) Write(line []byte) (int, error) {
	l <- string(bytes.TrimSpace(line))
	return len(line), nil
}

func TestTrigger_LogsAMessageWithMalformedHeaders(t *testing.T) {
	t.Parallel()
	started, err := natsd.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(started.Close)
	lines := make(logged, 10)
	run := (&Relay{}).newRun("0", "", slog.New(slog.NewTextHandler(lines, nil)))
	run.deliveries = t.Context()
	source := newNATSSource(run.newSubscription(trigger.Trigger{ID: "the-trigger"}).sink(), trigger.NATS{}, store.Positions{})
	conn, err := nats.Connect(started.URL(), nats.ErrorHandler(source.asyncError))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	sub, err := conn.SubscribeSync("s")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	publishRaw(t, started, "s", "no colon\r\n")
	got, err := sub.NextMsg(deadline)
	if err != nil || string(got.Data) != "x" {
		t.Fatalf("got %+v, %v", got, err)
	}
	select {
	case line := <-lines:
		if !strings.Contains(line, "malformed headers") || !strings.Contains(line, "trigger_id=the-trigger") || strings.Contains(line, "no colon") {
			t.Errorf("got %s", line)
		}
	case <-time.After(deadline):
		t.Error("nothing is logged")
	}
}
