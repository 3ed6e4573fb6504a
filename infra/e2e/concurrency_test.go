package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"

	"containertriggers/shared/domain/trigger"
)

// atOnce runs something so many times at the same time, all beginning together.
func atOnce(n int, do func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			do(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

func TestUpdateTrigger_AppliesConcurrentUpdatesAndProvisionsTheLast(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.createCron("crowded", "@daily", "UTC").ID
	const updates = 50
	answers := make([]response, updates)
	atOnce(updates, func(i int) {
		body := fmt.Sprintf(`{"description":"%d","cron_config":{"schedule":"%d 5 * * *","body":"%d"}}`, i, i, i)
		for again := true; again; {
			answers[i] = b.do(http.MethodPatch, regional+"/triggers/"+id, body, nil)
			// As clients do: who had no turn in all the time that the function has is asked
			// to come again.
			again = answers[i].status == http.StatusTooManyRequests && answers[i].header.Get("Retry-After") == "1"
		}
	})
	for i, r := range answers {
		if r.status != http.StatusOK || r.body["description"] != fmt.Sprint(i) {
			t.Errorf("update %d is answered with %d %s", i, r.status, r.text)
		}
	}
	b.wait(id)
	exact := newExactly(t, b.world)
	row, err := exact.triggers.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	// Each update in whole, and none lost on the way: 50 are 50 generations.
	if row.Generation != updates+1 || row.Cron.Schedule != row.Description+" 5 * * *" || row.Cron.Body != row.Description {
		t.Errorf("got generation %d, %q with %+v", row.Generation, row.Description, row.Cron)
	}
	if drifted, _, err := exact.sources.Schedules.Drifted(t.Context(), row, nil); err != nil || drifted || !row.Settled() {
		t.Errorf("what is provisioned is not what the row says: drifted %t, settled %t, %v", drifted, row.Settled(), err)
	}
}

func TestCreateTrigger_ConcurrentCreatesOnOneQueueLeaveOneOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	q := b.createQueue(nil)
	const creates = 8
	atOnce(creates, func(i int) {
		b.do(http.MethodPost, regional+"/triggers", fmt.Sprintf(
			`{"name":"q%d","container_id":%q,"sqs_config":{"endpoint":%q,"queue_url":%q,"access_key_id":%q,"secret_access_key":%q}}`,
			i, b.containerID, q.endpoint, q.url, q.accessKey, q.secretKey), nil)
	})
	settled := func() (ready, waiting []string) {
		for _, row := range newExactly(t, b.world).rows(t) {
			if row.OrganizationID == b.organization && row.Settled() {
				switch row.Status {
				case trigger.Ready:
					ready = append(ready, row.ID)
				case trigger.Error:
					waiting = append(waiting, row.ID)
				}
			}
		}
		return ready, waiting
	}
	var ready []string
	b.eventually("one has it and the others wait", func() bool {
		var waiting []string
		ready, waiting = settled()
		return len(ready) == 1 && len(waiting) == creates-1
	})
	b.delete(ready[0])
	b.eventually("another has taken over", func() bool {
		next, waiting := settled()
		return len(next) == 1 && next[0] != ready[0] && len(waiting) == creates-2
	})
}

func TestDeleteTrigger_WinsAgainstConcurrentUpdates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 5 {
		id := b.createCron("doomed "+uuid.NewString(), "@daily", "UTC").ID
		answers := make([]response, 12)
		atOnce(len(answers), func(i int) {
			if i%4 == 0 {
				answers[i] = b.do(http.MethodDelete, regional+"/triggers/"+id, "", nil)
				return
			}
			answers[i] = b.do(http.MethodPatch, regional+"/triggers/"+id, fmt.Sprintf(`{"cron_config":{"schedule":"%d 5 * * *"}}`, i), nil)
		})
		for i, r := range answers {
			fine := r.status == http.StatusOK || r.status == http.StatusNotFound ||
				i%4 != 0 && r.status == http.StatusConflict && r.body["type"] == "transient_state" && r.body["current_state"] == "deleting"
			if !fine {
				t.Errorf("got %d %s", r.status, r.text)
			}
		}
		b.eventually("it is gone", func() bool {
			return b.do(http.MethodGet, regional+"/triggers/"+id, "", nil).status == http.StatusNotFound
		})
		if left := b.schedules(id); len(left) > 0 {
			t.Errorf("left are %v", left)
		}
	}
}
