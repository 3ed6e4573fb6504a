package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"containertriggers/infra/local/measured"
)

// setupCounting returns two bundles: one for the test's own calls, and one with the function,
// whose calls count.
func setupCounting(t *testing.T) (b, counted *testBundle, calls *measured.Calls) {
	t.Helper()
	cfg := guarded(t)
	b, calls = setupOn(t, cfg), &measured.Calls{}
	cfg.HTTPClient = calls
	counted = newBundle(t, cfg)
	counted.db = b.db
	return b, counted, calls
}

func TestReconcile_MakesTheCallsThatTheREADMEStates(t *testing.T) {
	t.Parallel()
	b, counted, calls := setupCounting(t)
	var rows [][]string
	add := func(what string) {
		made, _ := calls.Take()
		mappings := 0
		for operation, count := range made {
			if strings.Contains(operation, "EventSourceMapping") {
				mappings += count
			}
		}
		rows = append(rows, []string{what, measured.Number(measured.Sum(made)), measured.Number(mappings)})
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
	b, counted, calls := setupCounting(t)
	ns, inside := b.populateWith(someChildren + 10)
	counted.handleRecords(b.deleting(b.namespaces.Table, ns.ID))
	if _, read := calls.Take(); read != len(inside) {
		t.Errorf("the namespace's record read %d entries", read)
	}
	counted.handleRecords(b.deleting(b.containers.Table, inside[0]))
	if _, read := calls.Take(); read != someChildren {
		t.Errorf("a container's record read %d entries", read)
	}

	_, _, beside := b.populate()
	if _, err := b.containers.MarkDeleting(t.Context(), beside); err != nil {
		t.Fatal(err)
	}
	counted.handleRecords(b.deleting(b.containers.Table, beside))
	if _, read := calls.Take(); read != 0 {
		t.Errorf("the record of a container whose namespace is not being deleted read %d entries", read)
	}
}
