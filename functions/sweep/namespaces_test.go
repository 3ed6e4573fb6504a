package main

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/namespace"
)

func TestSweep_DeletesContainersWhoseNamespaceIsGone(t *testing.T) {
	b := setup(t)
	ns, _, err := namespace.Create([]byte(`{"name":"n"}`), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.namespaces.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	inside, old := b.on, b.on
	inside.ID, inside.NamespaceID = uuid.NewString(), ns.ID
	if err := b.containers.CreateIn(t.Context(), b.namespaces, inside); err != nil {
		t.Fatal(err)
	}
	// From before there were namespaces.
	old.ID, old.NamespaceID = uuid.NewString(), uuid.NewString()
	if err := b.containers.Create(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	expect := func(when string, want container.Status) {
		t.Helper()
		b.sweep()
		for id, want := range map[string]container.Status{inside.ID: want, old.ID: container.Ready} {
			if got, err := b.containers.Get(t.Context(), id); err != nil || got.Status != want {
				t.Errorf("%s: got %s, %v, want %s", when, got.Status, err, want)
			}
		}
	}
	expect("with a namespace", container.Ready)
	if _, err := b.namespaces.MarkDeleting(t.Context(), ns.ID); err != nil {
		t.Fatal(err)
	}
	before := countRecords(t, b.namespaces.Table)
	expect("just after its deletion", container.Ready)
	if countRecords(t, b.namespaces.Table) != before {
		t.Error("a namespace that was deleted just now was opened again")
	}
	b.now = func() time.Time { return time.Now().Add(gracePeriod) }
	expect("while it is being deleted", container.Ready) // reconcile deletes it
	if countRecords(t, b.namespaces.Table) == before {
		t.Error("the namespace that is being deleted was not opened again")
	}
	if err := b.namespaces.Remove(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	expect("without a namespace", container.Deleting)
}
