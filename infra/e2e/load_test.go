package e2e

import (
	"flag"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"

	"containertriggers/shared/domain/trigger"
)

// How many triggers TestLoad_LosesNoneOfManyTriggers creates; `make soak` says 2,000.
var manyTriggers = flag.Int("triggers", 150, "how many triggers the load test creates")

// TestLoad_LosesNoneOfManyTriggers has a cloud of its own: it looks at all there is.
func TestLoad_LosesNoneOfManyTriggers(t *testing.T) {
	t.Parallel()
	w := prepare(0)
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := setupIn(t, w)
	exact := newExactly(t, w)
	const clients = 16
	// The containers are deleted with their triggers, half of which go before.
	containers := []string{b.containerID, b.createContainer(map[string]any{"name": "other", "public_endpoint": "http://127.0.0.1:1"})}

	began := time.Now()
	var ids [clients][]string
	var failures [clients]error
	var work sync.WaitGroup
	for c := range clients {
		api := b.client(b.secretKey)
		work.Go(func() {
			for i := c; i < *manyTriggers; i += clients {
				created, err := api.CreateTrigger(&container.CreateTriggerRequest{
					ContainerID: containers[i%2], Name: fmt.Sprint("load ", i),
					CronConfig: &container.CreateTriggerRequestCronConfig{Schedule: fmt.Sprintf("%d 3 1 1 *", i%60), Timezone: "Europe/Paris"},
				})
				if err != nil {
					failures[c] = err
					return
				}
				ids[c] = append(ids[c], created.ID)
			}
		})
	}
	work.Wait()
	created := map[string]bool{}
	for c := range clients {
		if failures[c] != nil {
			t.Fatalf("client %d: %v\n%s", c, failures[c], w.loggedOf(`"level":"ERROR"`))
		}
		for _, id := range ids[c] {
			created[id] = true
		}
	}
	tookCreates := time.Since(began)
	if len(created) != *manyTriggers {
		t.Fatalf("%d of %d triggers were created", len(created), *manyTriggers)
	}
	patiently(t, "all are ready", func() error {
		rows := exact.rows(t)
		for _, row := range rows {
			if !created[row.ID] || row.Status != trigger.Ready || !row.Settled() {
				return fmt.Errorf("trigger %s is %s", row.ID, row.Status)
			}
		}
		if len(rows) != *manyTriggers {
			return fmt.Errorf("there are %d", len(rows))
		}
		return exact.agree(t, "")
	})
	tookReady := time.Since(began)

	began = time.Now()
	for c := range clients {
		api := b.client(b.secretKey)
		work.Go(func() {
			for i, id := range ids[c] {
				if i%2 == 0 {
					if _, err := api.DeleteTrigger(&container.DeleteTriggerRequest{TriggerID: id}); err != nil {
						failures[c] = err
					}
				}
			}
		})
	}
	work.Wait()
	for c := range clients {
		if failures[c] != nil {
			t.Fatalf("client %d: %v\n%s", c, failures[c], w.loggedOf(`"level":"ERROR"`))
		}
	}
	for _, id := range containers {
		if r := b.do(http.MethodDelete, regional+"/containers/"+id, "", nil); r.status != http.StatusOK {
			t.Fatalf("deleting a container: %d %s", r.status, r.text)
		}
	}
	patiently(t, "nothing is left", func() error { return exact.empty(t) })
	t.Logf("%d triggers by %d clients: created in %s, all ready after %s, all gone after %s", *manyTriggers, clients, tookCreates, tookReady, time.Since(began))
}

// patiently waits for what takes its time under load.
func patiently(t *testing.T, what string, ok func() error) {
	t.Helper()
	end := time.Now().Add(15 * time.Minute)
	for {
		began := time.Now()
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
		// Looking at all there is takes moto its time; most of it is for what is looked at.
		time.Sleep(max(time.Second, 4*time.Since(began))) //nolint:forbidigo // polls with a deadline
	}
}
