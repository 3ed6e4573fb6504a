package relay

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"containertriggers/shared/dispatch/invoke"
)

// receiving subscribes to a queue at an endpoint, which it reaches with the dialer.
func (b *testBundle) receiving(dialer *net.Dialer, endpoint http.HandlerFunc) *subscription {
	b.t.Helper()
	server := httptest.NewServer(endpoint)
	b.t.Cleanup(server.Close)
	b.Dialer = dialer
	id := b.createFrom("sqs_config", map[string]any{"endpoint": server.URL, "queue_url": server.URL + "/1/q", "access_key_id": "a", "secret_access_key": "b"})
	run := b.newRun(b.shard, "", discard)
	run.deliveries = b.t.Context()
	b.t.Cleanup(run.close)
	if err := run.follow(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return run.subscriptions[id]
}

func (h *subscription) told() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reason
}

func TestEndpoint_CannotSendMoreThanSQSWould(t *testing.T) {
	t.Parallel()
	endless := func(w http.ResponseWriter, encoding string) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		if encoding != "" {
			w.Header().Set("Content-Encoding", encoding)
		}
		_, _ = io.WriteString(w, `{"Messages":[{"Body":"`)
		for piece := strings.Repeat("a", 1<<20); ; {
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
		}
	}
	var redirected atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { redirected.Add(1) }))
	t.Cleanup(inside.Close)
	anywhere := invoke.Dialer(invoke.Settings{AllowPrivate: true})
	const notSQS = "does not answer like SQS"
	for what, test := range map[string]struct {
		dialer   *net.Dialer
		endpoint http.HandlerFunc
		want     string
	}{
		"an endless answer": {anywhere, func(w http.ResponseWriter, _ *http.Request) { endless(w, "") }, notSQS},
		"a packed answer":   {anywhere, func(w http.ResponseWriter, _ *http.Request) { endless(w, "gzip") }, notSQS},
		"endless headers": {anywhere, func(w http.ResponseWriter, _ *http.Request) {
			for i := range 1000 {
				w.Header().Set(fmt.Sprint("x-", i), strings.Repeat("a", 1000))
			}
		}, notSQS},
		"a redirect": {anywhere, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside.URL, http.StatusTemporaryRedirect)
		}, notSQS},
		"a private address": {invoke.Dialer(invoke.Settings{}), func(http.ResponseWriter, *http.Request) { redirected.Add(1) }, "is not public"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			h := b.receiving(test.dialer, test.endpoint)
			b.eventually("its owner is told", func() bool { return strings.Contains(h.told(), test.want) })
		})
	}
	t.Cleanup(func() {
		if redirected.Load() > 0 {
			t.Errorf("what must not be reached was, %d times", redirected.Load())
		}
	})
}

func TestEndpoint_CannotCauseMoreCallsThanRequested(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.Concurrency = maxReceive
	release := b.block()
	var asked atomic.Int64
	b.receiving(b.Dialer, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".ReceiveMessage") {
			asked.Add(1)
			var messages []map[string]string
			for i := range 500 {
				messages = append(messages, map[string]string{"MessageId": fmt.Sprint(i), "ReceiptHandle": "r", "Body": fmt.Sprint(i)})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"Messages": messages})
		}
	})
	calls := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.calls
	}
	b.eventually("a batch is being delivered", func() bool { return calls() >= maxReceive })
	release()
	b.eventually("more batches are delivered", func() bool { return asked.Load() > 3 })
	if got, most := calls(), maxReceive*int(asked.Load()); got > most {
		t.Errorf("%d calls were made for %d answers", got, asked.Load())
	}
}

func TestEndpoint_WithoutLongPollingIsPolledWithPauses(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	asked := make(chan time.Time, 1000)
	b.receiving(b.Dialer, func(w http.ResponseWriter, _ *http.Request) {
		select {
		case asked <- time.Now():
		default:
		}
		_, _ = io.WriteString(w, `{}`)
	})
	<-asked // the first receive does not use long polling
	second := <-asked
	if between := (<-asked).Sub(second); between < b.Timing.withDefaults().ReceivePause {
		t.Errorf("it was asked again after %s", between)
	}
}
