package store_test

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
)

func claims(t *testing.T) store.Claims {
	t.Helper()
	return store.Claims{Client: dynamodb.NewFromConfig(mototest.Config(t)), Table: mototest.Environment(t, "reconcile")["CLAIMS_TABLE"]}
}

func claimOn(queue string) store.QueueClaim {
	return store.QueueClaim{Queue: queue, TriggerID: uuid.NewString(), ContainerID: uuid.NewString(), QueueURL: "https://" + queue, MaxReceives: 3}
}

// claimedBy is whose the queue is, according to the error of a claim.
func claimedBy(err error) string {
	if claimed, ok := errors.AsType[*store.ClaimedError](err); ok {
		return claimed.TriggerID
	}
	return ""
}

func TestClaims_OneTriggerClaimsAQueueAndOthersWait(t *testing.T) {
	t.Parallel()
	c := claims(t)
	queue := "arn:aws:sqs:us-east-1:1:" + uuid.NewString()
	first, second, third := claimOn(queue), claimOn(queue), claimOn(queue)
	if _, err := c.Queue(t.Context(), queue); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	for range 2 {
		if err := c.Claim(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for _, other := range []store.QueueClaim{second, third} {
			if err := c.Claim(t.Context(), other); claimedBy(err) != first.TriggerID {
				t.Errorf("got %v", err)
			}
		}
	}
	got, err := c.Queue(t.Context(), queue)
	if err != nil || got.TriggerID != first.TriggerID || got.QueueURL != first.QueueURL || got.MaxReceives != 3 || got.ContainerID != first.ContainerID {
		t.Errorf("got %+v, %v", got, err)
	}
	if waiting, err := c.Release(t.Context(), queue, second.TriggerID); err != nil || len(waiting) > 0 {
		t.Errorf("who has no claim released one: %v, %v", waiting, err)
	}
	waiting, err := c.Release(t.Context(), queue, first.TriggerID)
	slices.Sort(waiting)
	if want := slices.Sorted(slices.Values([]string{second.TriggerID, third.TriggerID})); err != nil || !slices.Equal(waiting, want) {
		t.Errorf("got %v, %v, want %v", waiting, err, want)
	}
	if waiting, err := c.Release(t.Context(), queue, first.TriggerID); err != nil || len(waiting) > 0 {
		t.Errorf("released again: %v, %v", waiting, err)
	}
	if err := c.Claim(t.Context(), second); err != nil {
		t.Error(err)
	}
}

func TestHeld_ListsTheQueuesOfATriggerUntilTheirRelease(t *testing.T) {
	t.Parallel()
	c := claims(t)
	one, two := claimOn("arn:one:"+uuid.NewString()), claimOn("arn:two:"+uuid.NewString())
	two.TriggerID = one.TriggerID
	for _, claim := range []store.QueueClaim{one, two} {
		if err := c.Claim(t.Context(), claim); err != nil {
			t.Fatal(err)
		}
	}
	held, err := c.Held(t.Context(), one.TriggerID)
	if slices.Sort(held); err != nil || !slices.Equal(held, []string{one.Queue, two.Queue}) {
		t.Errorf("got %v, %v", held, err)
	}
	if err := c.Forget(t.Context(), one.TriggerID); err == nil {
		t.Error("what is still held was forgotten")
	}
	for _, queue := range held {
		if _, err := c.Release(t.Context(), queue, one.TriggerID); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := c.Forget(t.Context(), one.TriggerID); err != nil {
			t.Error(err)
		}
	}
	if held, err := c.Held(t.Context(), one.TriggerID); err != nil || len(held) > 0 {
		t.Errorf("got %v, %v", held, err)
	}
}

func TestClaim_OneOfManyConcurrentClaimsWins(t *testing.T) {
	t.Parallel()
	c := claims(t)
	queue := "arn:" + uuid.NewString()
	var (
		mu      sync.Mutex
		winners []string
		losers  = map[string]int{}
		work    sync.WaitGroup
	)
	for range 20 {
		work.Go(func() {
			claim := claimOn(queue)
			err := c.Claim(t.Context(), claim)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				winners = append(winners, claim.TriggerID)
			} else {
				losers[claimedBy(err)]++
			}
		})
	}
	work.Wait()
	if len(winners) != 1 || losers[winners[0]] != 19 {
		t.Errorf("winners %v, losers by what they were told %v", winners, losers)
	}
	held, err := c.Queue(t.Context(), queue)
	if err != nil || len(held.Waiting) != 19 {
		t.Errorf("got %+v, %v", held, err)
	}
}

func TestBookmarks_GetReturnsTheLastSet(t *testing.T) {
	t.Parallel()
	c, name := claims(t), uuid.NewString()
	b := store.Bookmarks(c)
	if got, err := b.Get(t.Context(), name); err != nil || len(got) > 0 {
		t.Errorf("got %q, %v", got, err)
	}
	for _, want := range []map[string]string{{"scan": "a"}, {"scan": "b", "other": "c"}, {}} {
		if err := b.Set(t.Context(), name, want); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Get(t.Context(), name); err != nil || !maps.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

func TestTriggers_RequeueReopensOnlyUnfinishedOnes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status := map[string]trigger.Trigger{}
	for _, name := range []string{"creating", "ready", "error", "deleting", "unsettled"} {
		tr := b.draft(`"cron_config":{"schedule":"@daily"}`)
		if err := b.triggers.Create(t.Context(), b.containers, tr); err != nil {
			t.Fatal(err)
		}
		status[name] = tr
	}
	settle := func(name, message string) {
		if err := b.triggers.MarkObserved(t.Context(), status[name], message, now()); err != nil {
			t.Fatal(err)
		}
	}
	settle("ready", "")
	settle("unsettled", "")
	settle("error", "broken")
	updated, _, err := b.get(status["unsettled"].ID).Update([]byte(`{"name":"other"}`), now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.triggers.Update(t.Context(), b.get(updated.ID), updated); err != nil {
		t.Fatal(err)
	}
	if _, err := b.triggers.MarkDeleting(t.Context(), status["deleting"].ID); err != nil {
		t.Fatal(err)
	}

	open := map[string]bool{}
	for after, first := "", true; first || after != ""; first = false {
		found, next, err := b.triggers.Unfinished(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		for _, tr := range found {
			open[tr.ID] = true
		}
		after = next
	}
	for name, tr := range status {
		if open[tr.ID] != (name != "ready") {
			t.Errorf("%s: open is %t", name, open[tr.ID])
		}
		if err := b.triggers.Requeue(t.Context(), tr.ID, now()); err != nil {
			t.Error(err)
		}
		if b.get(tr.ID).Settled() {
			t.Errorf("%s: it is not reopened", name)
		}
	}
	gone := uuid.NewString()
	if err := b.triggers.Requeue(t.Context(), gone, now()); err != nil {
		t.Error(err)
	}
	if _, err := b.triggers.Get(t.Context(), gone); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a trigger that is gone was made anew: %v", err)
	}
}
