package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
)

func TestCreate_AnswersWhichQuotasAreReached(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.quotas.limits = limits{PerContainer: 2, PerOrganization: 3, APIRate: 1, APIBurst: 5}
	expect := func(want ...apierr.Quota) {
		t.Helper()
		_, err := b.create("fr-par", b.body(`"cron_config":{"schedule":"@daily"}`))
		if len(want) == 0 {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		told := apierr.From(err)
		if got, ok := told.Details.([]apierr.Quota); told.Type != apierr.TypeQuotasExceeded || told.Status != 403 || !ok || !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v", told, want)
		}
	}
	perContainer := apierr.Quota{Resource: "triggers_per_container", Quota: 2, Current: 2}
	perOrganization := apierr.Quota{Resource: "triggers_per_organization", Quota: 3, Current: 3}
	expect()
	expect()
	expect(perContainer)
	full := b.container.ID
	b.container.ID = uuid.NewString()
	if err := b.containers.Create(t.Context(), b.container); err != nil {
		t.Fatal(err)
	}
	expect()
	expect(perOrganization)
	b.container.ID = full
	expect(perContainer, perOrganization)
	b.container.ID, b.container.OrganizationID = uuid.NewString(), uuid.NewString()
	b.caller.OrganizationID = b.container.OrganizationID
	if err := b.containers.Create(t.Context(), b.container); err != nil {
		t.Fatal(err)
	}
	expect() // another organization's quota is its own
}

func TestQuotaChecker_CountsAgainBeforeAQuotaCanBeReached(t *testing.T) {
	t.Parallel()
	now := time.Now()
	checker := newQuotaChecker(limits{APIRate: 10, APIBurst: 20}, store.Triggers{}, func() time.Time { return now })
	there, counted := 0, 0
	count := func(name string) int {
		t.Helper()
		counted = 0
		n, err := checker.count(name, 100, func(most int) (int, error) {
			counted++
			return min(there, most), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, step := range []struct {
		name  string
		there int
		after time.Duration
		count bool
	}{
		{"a", 0, 0, true}, // (100 - 0 - 20) / 10 = 8 s
		{"b", 0, 0, true},
		{"a", 99, 8*time.Second - 1, false},
		{"a", 79, 1, true}, // 100 ms
		{"a", 80, 100*time.Millisecond - 1, false},
		{"a", 80, 1, true}, // one burst could reach the quota
		{"a", 99, 0, true},
		{"a", 100, 0, true},
		{"a", 98, 0, true}, // a reached quota is never cached
	} {
		now, there = now.Add(step.after), step.there
		n := count(step.name)
		if (counted == 1) != step.count || step.count && n != there {
			t.Errorf("%+v: counted %d times, is %d", step, counted, n)
		}
	}
	now = now.Add(time.Minute)
	fails := errors.New("throttled")
	if _, err := checker.count("a", 100, func(int) (int, error) { return 0, fails }); !errors.Is(err, fails) {
		t.Errorf("a failed count: %v", err)
	}
	if count("a"); counted != 1 {
		t.Error("a failed count is kept")
	}
}

func TestQuotaChecker_CachesABoundedNumberOfCounts(t *testing.T) {
	t.Parallel()
	checker := newQuotaChecker(limits{APIRate: 1, APIBurst: 1}, store.Triggers{}, time.Now)
	for i := range 3 * maxCached {
		if _, err := checker.count(fmt.Sprint(i), 100, func(int) (int, error) { return 0, nil }); err != nil {
			t.Fatal(err)
		}
		if got := len(checker.validUntil); got < 1 || got > maxCached {
			t.Fatalf("after %d counts %d are cached", i+1, got)
		}
	}
}
