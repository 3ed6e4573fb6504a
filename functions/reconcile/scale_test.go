package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/smithy-go/middleware"
	"github.com/google/uuid"

	"containertriggers/infra/local/measured"
)

// counting is an HTTP client that counts the AWS calls that go through it.
type counting struct {
	mu    sync.Mutex
	calls map[string]int // by the operation
	// most is the largest number of entries of an index that one query has read.
	most int
}

func (c *counting) Do(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	operation := middleware.GetOperationName(request.Context())
	var read struct{ ScannedCount int }
	if operation == "Query" {
		if err := json.Unmarshal(body, &read); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[operation]++
	c.most = max(c.most, read.ScannedCount)
	return response, nil
}

// setupCounting returns two bundles: one for the test's own calls, and one with the function,
// whose calls count.
func setupCounting(t *testing.T) (b, counted *testBundle, client *counting) {
	t.Helper()
	cfg := guarded(t)
	b, client = setupOn(t, cfg), &counting{calls: map[string]int{}}
	cfg.HTTPClient = client
	counted = newBundle(t, cfg)
	counted.db = b.db
	return b, counted, client
}

// take returns the calls since the last take: all, and those to Lambda's control plane.
func (c *counting) take() (all, mappings int) {
	for operation, count := range c.calls {
		all += count
		if strings.HasSuffix(operation, "EventSourceMapping") || strings.HasSuffix(operation, "EventSourceMappings") {
			mappings += count
		}
	}
	c.calls = map[string]int{}
	return all, mappings
}

func TestReconcile_MakesTheCallsThatTheREADMEStates(t *testing.T) {
	t.Parallel()
	b, counted, client := setupCounting(t)
	var rows [][]string
	add := func(what string) {
		all, mappings := client.take()
		rows = append(rows, []string{what, strconv.Itoa(all), strconv.Itoa(mappings)})
	}
	remove := func(id string) {
		t.Helper()
		after := b.image(b.triggers.Table, id)
		if _, err := b.triggers.MarkDeleting(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		counted.handleRow(id)
		b.expect(id, "no row")
		counted.handleRecords(b.record(id, after, nil))
	}
	for _, of := range []struct {
		what   string
		create func() (id string)
	}{
		{"a `cron` trigger", func() string { return b.create(`"cron_config":{"schedule":"@daily"}`).ID }},
		{"a trigger of a mapped queue", func() string { return b.createSQS(b.createQueue("mapped-" + uuid.NewString())) }},
	} {
		id := of.create()
		before := b.image(b.triggers.Table, id)
		counted.handleRow(id)
		counted.handleRecords(b.record(id, before, b.image(b.triggers.Table, id)))
		add("create " + of.what)
		remove(id)
		add("delete " + of.what)
	}
	for _, containers := range []int{10, 40} {
		ns, inside := b.populateWith(containers)
		counted.handleRecords(b.deleting(b.namespaces.Table, ns.ID))
		for _, id := range inside {
			counted.handleRecords(b.deleting(b.containers.Table, id))
		}
		counted.handleRecords(b.deleting(b.namespaces.Table, ns.ID))
		if _, err := b.namespaces.Get(t.Context(), ns.ID); !b.gone(err) {
			t.Errorf("a namespace with %d containers is still there", containers)
		}
		add(fmt.Sprintf("delete a namespace with %d containers", containers))
	}
	measured.Table(t, "../../infra/README.md", []string{"`reconcile` for", "AWS calls", "of them to Lambda's control plane"}, rows)
}

// The deletion of a namespace would otherwise read as many entries as the square of its
// containers.
func TestFollowNamespace_ReadsFewEntriesOfTheIndexForEachContainer(t *testing.T) {
	t.Parallel()
	b, counted, client := setupCounting(t)
	ns, inside := b.populateWith(someChildren + 10)
	counted.handleRecords(b.deleting(b.namespaces.Table, ns.ID))
	if client.most != len(inside) {
		t.Errorf("the namespace's record read %d entries", client.most)
	}
	client.most = 0
	counted.handleRecords(b.deleting(b.containers.Table, inside[0]))
	if client.most != someChildren {
		t.Errorf("a container's record read %d entries", client.most)
	}

	_, _, beside := b.populate()
	if _, err := b.containers.MarkDeleting(t.Context(), beside); err != nil {
		t.Fatal(err)
	}
	client.most = 0
	counted.handleRecords(b.deleting(b.containers.Table, beside))
	if client.most != 0 {
		t.Errorf("the record of a container whose namespace is not being deleted read %d entries", client.most)
	}
}
