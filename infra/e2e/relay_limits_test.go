package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"

	"containertriggers/infra/local/natsd"
	"containertriggers/infra/local/sqsd"
	"containertriggers/shared/aws/store"
)

// How many messages of 8 MiB TestRelay_StaysWithinItsLimits publishes; `make soak` says 256.
var largeMessages = flag.Int("large", 64, "how many messages of 8 MiB the relay's test publishes")

// held is a container that answers no call before release is closed. It counts its calls by
// the start of the body, up to the first space.
type held struct {
	release chan struct{}

	mu       sync.Mutex
	calls    map[string]int // by path
	answered map[string]int // by path and number
}

func (h *held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := make([]byte, 8)
	if _, err := io.ReadFull(r.Body, start); err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	h.mu.Lock()
	h.calls[r.URL.Path]++
	h.mu.Unlock()
	<-h.release
	number, _, _ := strings.Cut(string(start), " ")
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answered[r.URL.Path+"#"+number]++
}

func (h *held) called(path string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls[path]
}

func (h *held) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.answered)
}

// numbered returns a message that starts with its number.
func numbered(n, size int) []byte {
	return append(fmt.Appendf(nil, "%07d ", n), bytes.Repeat([]byte("x"), size-8)...)
}

// TestRelay_StaysWithinItsLimits has a cloud of its own: one relay's process has more to
// deliver than its memory and its files could hold, to containers that do not answer.
func TestRelay_StaysWithinItsLimits(t *testing.T) {
	t.Parallel()
	w, err := start(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := setupIn(t, w)
	quick := b.containerID
	slow := &held{release: make(chan struct{}), calls: map[string]int{}, answered: map[string]int{}}
	release := sync.OnceFunc(func() { close(slow.release) })
	endpoint := httptest.NewServer(slow)
	t.Cleanup(endpoint.Close)
	t.Cleanup(release)
	b.containerID = b.createContainer(map[string]any{"name": "slow", "public_endpoint": endpoint.URL})
	nats, err := natsd.Start(&server.Options{MaxPayload: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Close)
	conn := b.connect(nats.URL())
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LARGE", Subjects: []string{"large"}}); err != nil {
		t.Fatal(err)
	}
	queue := sqsd.Start()
	t.Cleanup(queue.Close)

	create := func(request *container.CreateTriggerRequest, path string) (id string) {
		request.ContainerID, request.Name = b.containerID, "n"
		request.DestinationConfig = &container.CreateTriggerRequestDestinationConfig{HTTPPath: path}
		created, err := b.api.CreateTrigger(request)
		if err != nil {
			t.Fatal(err)
		}
		return created.ID
	}
	onNATS := func(subject string) *container.CreateTriggerRequest {
		return &container.CreateTriggerRequest{NatsConfig: &container.CreateTriggerRequestNATSConfig{ServerURLs: []string{nats.URL()}, Subject: subject}}
	}
	const triggers, each, queued = 40, 30, 250
	ids := []string{
		create(onNATS("large"), "/large"),
		create(&container.CreateTriggerRequest{SqsConfig: &container.CreateTriggerRequestSQSConfig{
			Endpoint: queue.URL, QueueURL: queue.QueueURL(), AccessKeyID: "a", SecretAccessKey: "b",
		}}, "/queue"),
	}
	for i := range triggers {
		ids = append(ids, create(onNATS(fmt.Sprint("small.", i)), fmt.Sprint("/small", i)))
	}
	b.containerID = quick
	ids = append(ids, create(onNATS("quick"), "/"))
	for _, id := range ids {
		b.expectReady(id)
	}
	leases := store.Leases{Client: dynamodb.NewFromConfig(b.AWSConfig()), Table: b.Function("sweep").Environment["CLAIMS_TABLE"]}
	before, err := leases.Get(t.Context(), "0")
	if err != nil {
		t.Fatal(err)
	}

	for i := range queued {
		queue.Send(string(numbered(i, 1<<20)))
	}
	for i := range triggers * each {
		if err := conn.Publish(fmt.Sprint("small.", i%triggers), numbered(i, 100)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range *largeMessages {
		if _, err := js.Publish(t.Context(), "large", numbered(i, 8<<20)); err != nil {
			t.Fatal(err)
		}
	}
	b.eventually("each slow container is called", func() bool {
		for i := range triggers {
			if slow.called(fmt.Sprint("/small", i)) == 0 {
				return false
			}
		}
		return slow.called("/large") >= 4 && slow.called("/queue") >= 10
	})
	if err := conn.Publish("quick", []byte("meanwhile")); err != nil {
		t.Fatal(err)
	}
	if c := b.nextCall(); c.body != "meanwhile" {
		t.Errorf("got %q", c.body)
	}
	files := 0
	for _, pid := range w.relays(t) { // one that came second waits for its next invocation
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		files = max(files, len(open))
	}
	if files > 900 {
		t.Errorf("a relay has %d files open", files)
	}
	large, fromQueue := slow.called("/large"), slow.called("/queue")
	release()
	b.eventually("all are delivered", func() bool {
		return slow.count() == *largeMessages+queued+triggers*each && queue.Len() == 0
	})
	if after, err := leases.Get(t.Context(), "0"); err != nil || after.Holder != before.Holder {
		t.Errorf("another relay has the shard: %+v, %+v, %v", before, after, err)
	}
	if killed := w.loggedOf("Runtime.OutOfMemory"); killed != "" {
		t.Error(killed)
	}
	if w.loggedOf(`"RelayTriggers":`) == "" {
		t.Error("the metric RelayTriggers is not counted")
	}
	t.Logf("while no container answered, %d messages of 8 MiB and %d of 1 MiB were in flight, and %d files were open", large, fromQueue, files)
}
