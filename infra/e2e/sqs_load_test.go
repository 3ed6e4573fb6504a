package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"
)

// flaky is a container that fails calls at random and can be killed. It notes the
// calls that it answered with a 2xx.
type flaky struct {
	t       *testing.T
	address string
	server  *http.Server
	oneIn   int

	mu       sync.Mutex
	rand     *rand.Rand
	failures int
	failed   map[string]int         // by the message's body
	taken    map[string][]time.Time // by the message's body
	order    []string               // the bodies, as they were taken
}

// mostFailures bounds how often one message fails: of thousands, one would by chance
// fail so often that its back-off is longer than a test waits.
const mostFailures = 3

// newFlaky starts a container that fails one call in so many.
func newFlaky(t *testing.T, oneIn int) *flaky {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("the container fails by the seed %d", seed)
	f := &flaky{t: t, address: "127.0.0.1:0", oneIn: oneIn, rand: rand.New(rand.NewPCG(seed, 0)), failed: map[string]int{}, taken: map[string][]time.Time{}}
	f.start()
	t.Cleanup(f.kill)
	return f
}

func (f *flaky) start() {
	f.t.Helper()
	listener, err := net.Listen("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.address = listener.Addr().String()
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	go func() {
		if err := f.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			f.t.Error(err)
		}
	}()
}

// kill closes the container's port and all its connections.
func (f *flaky) kill() { _ = f.server.Close() }

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // killed
	}
	f.mu.Lock()
	fails := f.rand.IntN(f.oneIn) == 0 && f.failed[string(body)] < mostFailures
	if fails {
		f.failures++
		f.failed[string(body)]++
	}
	f.mu.Unlock()
	if fails {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if _, err := io.WriteString(w, "taken"); err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken[string(body)] = append(f.taken[string(body)], time.Now())
	f.order = append(f.order, string(body))
}

func (f *flaky) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.taken)
}

// sendAll sends messages in batches of 10, each in the group that it is given, if any.
func (q *queue) sendAll(count int, group func(i int) string) {
	q.b.t.Helper()
	for from := 0; from < count; from += 10 {
		var entries []sqstypes.SendMessageBatchRequestEntry
		for i := from; i < min(from+10, count); i++ {
			entry := sqstypes.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(strconv.Itoa(i))}
			if group != nil {
				entry.MessageBody = aws.String(group(i) + " " + strconv.Itoa(i))
				entry.MessageGroupId, entry.MessageDeduplicationId = aws.String(group(i)), aws.String(uuid.NewString())
			}
			entries = append(entries, entry)
		}
		sent, err := q.client.SendMessageBatch(q.b.t.Context(), &sqs.SendMessageBatchInput{QueueUrl: &q.url, Entries: entries})
		if err != nil || len(sent.Failed) > 0 {
			q.b.t.Fatal(err, sent.Failed)
		}
	}
}

func TestSQSTrigger_LosesAndRepeatsNoMessageIfTheContainerFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.loseNothing(b.createQueue(nil))
}

// loseNothing sends messages through a queue to a container that fails at random
// and is killed once.
func (b *testBundle) loseNothing(q *queue) {
	t := b.t
	t.Helper()
	target := newFlaky(t, 5)
	b.containerID = b.createContainer(map[string]any{"name": "flaky", "public_endpoint": "http://" + target.address})
	b.expectReady(b.createSQS("orders", q.config()).ID)

	const messages = 1000
	q.sendAll(messages, nil)
	b.eventually("a third is delivered", func() bool { return target.count() > messages/3 })
	target.kill()
	killed := time.Now()
	b.eventually("some seconds have passed", func() bool { return time.Since(killed) > 3*time.Second })
	target.start()
	b.eventually("all are delivered", func() bool { return target.count() == messages })
	b.eventually("the queue is empty", func() bool { return q.messages() == 0 })

	target.mu.Lock()
	defer target.mu.Unlock()
	doubles := 0
	for body, times := range target.taken {
		if len(times) == 1 {
			continue
		}
		doubles++
		if since := times[0].Sub(killed); since < -time.Second || since > time.Second {
			t.Errorf("message %s was taken %d times, first %s after the container was killed", body, len(times), since)
		}
	}
	t.Logf("%d messages: %d calls failed by chance, %d messages were taken again whose answer was lost when the container was killed", messages, target.failures, doubles)
}

func TestSQSTrigger_KeepsTheOrderOfMessageGroups(t *testing.T) {
	t.Parallel()
	b := setup(t)
	target := newFlaky(t, 10)
	b.containerID = b.createContainer(map[string]any{"name": "flaky", "public_endpoint": "http://" + target.address})
	q := b.createQueue(map[string]string{"FifoQueue": "true"})
	b.expectReady(b.createSQS("ledger", q.config()).ID)

	const messages, groups = 200, 10
	q.sendAll(messages, func(i int) string { return fmt.Sprintf("group-%d", i%groups) })
	b.eventually("all are delivered", func() bool { return target.count() == messages })
	b.eventually("the queue is empty", func() bool { return q.messages() == 0 })

	target.mu.Lock()
	defer target.mu.Unlock()
	last := map[string]int{}
	for _, body := range target.order {
		group, text, _ := strings.Cut(body, " ")
		i, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := last[group]; ok && i != before+groups || !ok && i >= groups {
			t.Errorf("%s: %d came after %d", group, i, before)
		}
		last[group] = i
	}
	if len(target.order) != messages {
		t.Errorf("%d messages were taken %d times", messages, len(target.order))
	}
	t.Logf("%d calls failed", target.failures)
}
