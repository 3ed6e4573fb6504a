package relay

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"containertriggers/infra/local/sqsd"
	"containertriggers/shared/relay/natsconn"
)

// inHand records the bytes of the calls in flight of a container that does not answer
// before release is called, unless a body is small.
type inHand struct {
	b       *testBundle
	release func()
	now     int
	most    int
	ended   int
}

// blockLarge returns a container that holds calls with more than a kilobyte.
func (b *testBundle) blockLarge() *inHand {
	blocked := make(chan struct{})
	h := &inHand{b: b, release: sync.OnceFunc(func() { close(blocked) })}
	b.t.Cleanup(h.release)
	b.answers(func(body string) int {
		if len(body) <= 1<<10 {
			return http.StatusOK
		}
		b.mu.Lock()
		h.now += len(body)
		h.most = max(h.most, h.now)
		b.mu.Unlock()
		<-blocked
		b.mu.Lock()
		h.now -= len(body)
		h.ended++
		b.mu.Unlock()
		return http.StatusOK
	})
	return h
}

func (h *inHand) bytes() (now, most, ended int) {
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	return h.now, h.most, h.ended
}

// large returns a message of a size that begins with a number.
func large(n, size int) []byte {
	return append([]byte(fmt.Sprintf("%06d", n)), bytes.Repeat([]byte("x"), size-6)...)
}

func TestMemory_MessagesOfAStreamWaitAtTheServer(t *testing.T) {
	t.Parallel()
	b := setup(t, &server.Options{MaxPayload: natsconn.MaxMessage})
	b.Memory = 32 << 20
	js, _ := b.stream("large")
	h := b.blockLarge()
	ids := []string{b.create("large", ""), b.create("small", "")}
	run := b.start(10 * time.Minute)
	for _, id := range ids {
		b.ready(id)
	}
	// The largest message is larger than any window of the others, and than half of the memory.
	const messages = 24
	for i := range messages {
		size := 1 << 20
		if i == messages/2 {
			size = natsconn.MaxMessage
		}
		if _, err := js.Publish(t.Context(), "large", large(i, size)); err != nil {
			t.Fatal(err)
		}
	}
	// A trigger leaves as much as it holds, of what is not the other one's own (4 MiB).
	b.eventually("the memory is used", func() bool { now, _, _ := h.bytes(); return now > 8<<20 })
	b.publish(b.publisher(), "small", "small")
	b.eventually("another trigger's message is delivered meanwhile", func() bool { return b.took("small") == 1 })
	h.release()
	b.eventually("all arrive", func() bool { return b.count() == messages+1 })
	b.end(run)
	if _, most, _ := h.bytes(); most > 18<<20 || b.doubles() > 0 {
		t.Errorf("%d bytes were held, %d messages came twice", most, b.doubles())
	}
}

func TestMemory_LargeMessagesOfCoreNATSAreDroppedAndCounted(t *testing.T) {
	t.Parallel()
	b := setup(t, &server.Options{MaxPayload: natsconn.MaxMessage})
	b.Memory = 32 << 20
	h := b.blockLarge()
	large1, small := b.create("large", ""), b.create("small", "")
	run := b.start(10 * time.Minute)
	b.ready(large1)
	b.ready(small)
	conn := b.publisher()
	const messages = 24
	for i := range messages {
		b.publish(conn, "large", string(large(i, 1<<20)))
	}
	b.eventually("the drops are told", func() bool { return strings.Contains(b.get(large1).ErrorMessage, "slow consumer") })
	b.publish(conn, "small", "small")
	b.eventually("another trigger's message is delivered meanwhile", func() bool { return b.took("small") == 1 })
	h.release()
	b.end(run)
	var dropped int
	if _, err := fmt.Sscanf(b.get(large1).ErrorMessage, "slow consumer: %d messages", &dropped); err != nil {
		t.Fatal(err)
	}
	if _, most, ended := h.bytes(); most < 8<<20 || most > 18<<20 || ended+dropped != messages {
		t.Errorf("%d bytes were held, %d messages arrived and %d were told as dropped, of %d", most, ended, dropped, messages)
	}
}

// createQueue creates a trigger on a queue with an endpoint of its own.
func (b *testBundle) createQueue() (id string, queue *sqsd.Server) {
	b.t.Helper()
	queue = sqsd.Start()
	b.t.Cleanup(queue.Close)
	return b.createFrom("sqs_config", map[string]any{
		"endpoint": queue.URL, "queue_url": queue.QueueURL(), "access_key_id": "a", "secret_access_key": "b",
	}), queue
}

// Idle queues take no memory, because there may be many. A message that arrives then waits
// on its connection.
func TestMemory_FirstMessagesOfManyQueuesWaitForIt(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.Memory = 8 << 20
	h := b.blockLarge()
	const queues = 12
	var ids []string
	var all []*sqsd.Server
	for range queues + 1 {
		id, queue := b.createQueue()
		ids, all = append(ids, id), append(all, queue)
	}
	run := b.start(10 * time.Minute)
	for _, id := range ids {
		b.ready(id)
	}
	for i, queue := range all[:queues] {
		queue.Send(string(large(i, 1<<20)))
	}
	b.eventually("all messages are received", func() bool {
		for _, queue := range all[:queues] {
			if queue.Receives() == 0 {
				return false
			}
		}
		now, _, _ := h.bytes()
		return now > 0
	})
	all[queues].Send("small")
	b.eventually("a small message is delivered meanwhile", func() bool { return b.took("small") == 1 })
	h.release()
	b.eventually("all arrive", func() bool { return b.count() == queues+1 })
	b.end(run)
	if _, most, _ := h.bytes(); most > 5<<20 {
		t.Errorf("%d bytes were held", most)
	}
}

func TestMemory_MessagesOfAQueueWaitInTheQueue(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.Memory = 32 << 20
	h := b.blockLarge()
	first, full := b.createQueue()
	second, other := b.createQueue()
	const messages = 40
	for i := range messages {
		full.Send(string(large(i, 1<<20)))
	}
	run := b.start(10 * time.Minute)
	b.ready(first)
	b.ready(second)
	b.eventually("the memory is used", func() bool { now, _, _ := h.bytes(); return now >= 8<<20 })
	other.Send("small")
	b.eventually("another queue's message is delivered meanwhile", func() bool { return b.took("small") == 1 })
	if most := full.Receives(); most > 1 {
		t.Errorf("a message was received %d times without a call", most)
	}
	h.release()
	b.eventually("all arrive", func() bool { return b.count() == messages+1 })
	b.eventually("the queue is empty", func() bool { return full.Len() == 0 })
	b.end(run)
	if _, most, _ := h.bytes(); most > 18<<20 || b.doubles() > 0 {
		t.Errorf("%d bytes were held, %d messages came twice", most, b.doubles())
	}
}
