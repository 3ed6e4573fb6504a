package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// arrivals are the times at which the bodies of calls first came.
type arrivals struct {
	mu    sync.Mutex
	times map[string]time.Time
	last  time.Time
}

func (a *arrivals) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = time.Now()
	if _, again := a.times[string(body)]; !again {
		a.times[string(body)] = a.last
	}
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.times)
}

// pauseUnderLoad pauses a trigger that gets a message each 25 ms. Start creates the trigger,
// and returns what sends a message to it.
func pauseUnderLoad(t *testing.T, start func(*testBundle) (id string, send func(body string))) {
	t.Helper()
	b := setup(t)
	got := &arrivals{times: map[string]time.Time{}}
	server := httptest.NewServer(got)
	t.Cleanup(server.Close)
	b.containerID = b.createContainer(map[string]any{"name": "busy", "public_endpoint": server.URL})
	id, send := start(b)
	b.expectReady(id)

	answered := make(chan time.Time, 1)
	sent, pausing, end := 0, false, time.Time{}
	for tick := time.Tick(25 * time.Millisecond); end.IsZero() || time.Now().Before(end); sent++ {
		<-tick
		send(fmt.Sprint(sent))
		if !pausing && got.count() > 20 {
			pausing = true
			go func() {
				r := b.do(http.MethodPost, regional+"/triggers/"+id+"/pause", `{}`, nil)
				answered <- time.Now()
				if r.status != http.StatusOK {
					t.Errorf("pausing: %d %s", r.status, r.text)
				}
			}()
		}
		select {
		case at := <-answered:
			end = at.Add(4 * time.Second)
		default:
		}
	}
	got.mu.Lock()
	late := got.last.Sub(end.Add(-4 * time.Second))
	got.mu.Unlock()
	if before := got.count(); late > 2*time.Second || before == 0 || before == sent {
		t.Errorf("of %d messages %d were called for before the pause ended, the last one %s after the answer", sent, before, late)
	}
	b.settled(id)
	b.resume(id, `{}`)
	b.eventually("each message was delivered", func() bool { return got.count() == sent })
}

func TestPause_UnderLoadStopsCallsAndKeepsTheMessagesOfAQueue(t *testing.T) {
	t.Parallel()
	pauseUnderLoad(t, func(b *testBundle) (string, func(string)) {
		q := b.createQueue(map[string]string{"VisibilityTimeout": "60"})
		return b.createSQS("load", q.config()).ID, func(body string) { q.send(body, nil) }
	})
}

func TestPause_UnderLoadStopsCallsAndKeepsTheMessagesOfAForeignQueue(t *testing.T) {
	t.Parallel()
	pauseUnderLoad(t, func(b *testBundle) (string, func(string)) {
		q := b.elsewhere()
		return b.createSQS("load", q.config()).ID, func(body string) { q.send(body, nil) }
	})
}

func TestPause_UnderLoadStopsCallsAndKeepsTheMessagesOfAStream(t *testing.T) {
	t.Parallel()
	pauseUnderLoad(t, (*testBundle).createStream)
}
