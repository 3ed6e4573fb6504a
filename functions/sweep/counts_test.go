package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	query "containertriggers/shared/domain/listing"
	"containertriggers/shared/domain/trigger"
)

func TestSweep_CorrectsCountsThatDifferFromTheirRows(t *testing.T) {
	b := setup(t)
	uncounted := b.triggers
	b.containers.Counts = store.Counts{Client: b.triggers.Client, Table: mototest.Environment(t, "sweep")["COUNTS_TABLE"]}
	b.triggers.Counts = b.containers.Counts
	b.on.ID, b.on.OrganizationID, b.on.ProjectID = uuid.NewString(), uuid.NewString(), uuid.NewString()
	if err := b.containers.Create(t.Context(), b.on); err != nil {
		t.Fatal(err)
	}
	for _, counted := range []bool{true, true, false} {
		body := fmt.Sprintf(`{"name":"n","container_id":%q,%s}`, b.on.ID, daily)
		created, _, err := trigger.Create([]byte(body), uuid.NewString(), "fr-par", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		created.Owner = b.on.Owner
		rows := uncounted
		if counted {
			rows = b.triggers
		}
		if err := rows.Create(t.Context(), b.containers, created); err != nil {
			t.Fatal(err)
		}
	}
	total := func() int {
		t.Helper()
		_, total, err := b.triggers.List(t.Context(), query.Query{
			Region: "fr-par", OrganizationID: b.on.OrganizationID, ContainerID: b.on.ID, Page: 1, PageSize: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		return total
	}
	if got := total(); got != 2 {
		t.Fatalf("got %d triggers before the sweep", got)
	}
	b.now = func() time.Time { return time.Now().Add(time.Hour) }
	found := func() int {
		t.Helper()
		run := &sweep{function: b.function, progress: map[string]string{}, found: map[string]int{}}
		for first := true; first || run.progress["counts"] != ""; first = false {
			if err := run.run(t.Context(), scan{"counts", 10, run.miscounts}); err != nil {
				t.Fatal(err)
			}
		}
		return run.found[miscounted]
	}
	if got := found(); got != 2 { // that of the container and that of the organization
		t.Errorf("found %d counts", got)
	}
	if got := total(); got != 3 {
		t.Errorf("got %d triggers after the sweep", got)
	}
	if got := found(); got != 0 {
		t.Errorf("found %d counts again", got)
	}
}
