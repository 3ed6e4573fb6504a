package main

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/trigger"
)

// limits holds the quotas for triggers in a region and the rate limit of the API.
type limits struct {
	PerContainer    int `env:"TRIGGERS_PER_CONTAINER,required"`
	PerOrganization int `env:"TRIGGERS_PER_ORGANIZATION,required"`
	// APIRate is in requests a second. APIBurst is the size of a burst in requests.
	APIRate  int `env:"API_RATE,required"`
	APIBurst int `env:"API_BURST,required"`
}

// quotaChecker checks whether the quotas allow one more trigger. It counts triggers on
// demand, so concurrent creates may exceed a quota slightly. It is safe for concurrent use.
//
// Counting reads every entry of an index, and DynamoDB limits reads to 3,000 units a
// second for each partition (DynamoDB Developer Guide, "Quotas"). quotaChecker therefore
// caches each count for as long as the API's rate limit guarantees that the quota cannot
// have been reached.
type quotaChecker struct {
	limits   limits
	triggers store.Triggers
	now      func() time.Time

	mu sync.Mutex
	// validUntil has the time until which a count proves that its quota is not reached,
	// by a container's ID or by a region and an organization's ID.
	validUntil map[string]time.Time
}

// maxCached is the largest number of cached counts.
const maxCached = 1000

func newQuotaChecker(l limits, triggers store.Triggers, now func() time.Time) *quotaChecker {
	return &quotaChecker{limits: l, triggers: triggers, now: now, validUntil: map[string]time.Time{}}
}

// Check returns nil if the quotas allow t. Otherwise it returns quotas_exceeded with each
// quota that is reached.
func (c *quotaChecker) Check(ctx context.Context, t trigger.Trigger) error {
	var ofContainer, ofOrganization int
	counts, countCtx := errgroup.WithContext(ctx)
	counts.Go(func() (err error) {
		ofContainer, err = c.count(t.ContainerID, c.limits.PerContainer, func(most int) (int, error) {
			return c.triggers.CountOfContainer(countCtx, t.ContainerID, most)
		})
		return err
	})
	counts.Go(func() (err error) {
		ofOrganization, err = c.count(t.Region+" "+t.OrganizationID, c.limits.PerOrganization, func(most int) (int, error) {
			return c.triggers.CountOfOrganization(countCtx, t.Region, t.OrganizationID, most)
		})
		return err
	})
	if err := counts.Wait(); err != nil {
		return err
	}
	var exceeded []apierr.Quota
	for _, q := range []apierr.Quota{
		{Resource: "triggers_per_container", Quota: c.limits.PerContainer, Current: ofContainer},
		{Resource: "triggers_per_organization", Quota: c.limits.PerOrganization, Current: ofOrganization},
	} {
		if q.Current >= q.Quota {
			exceeded = append(exceeded, q)
		}
	}
	if len(exceeded) > 0 {
		return apierr.QuotasExceeded(exceeded...)
	}
	return nil
}

// count returns the number of triggers up to the quota, or 0 if an earlier count still
// proves that the quota is not reached. The name identifies the count.
func (c *quotaChecker) count(name string, quota int, count func(most int) (int, error)) (int, error) {
	now := c.now()
	c.mu.Lock()
	valid := c.validUntil[name]
	c.mu.Unlock()
	if now.Before(valid) {
		return 0, nil
	}
	n, err := count(quota)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.validUntil) >= maxCached {
		clear(c.validUntil)
	}
	if left := quota - n - c.limits.APIBurst; left > 0 {
		c.validUntil[name] = now.Add(time.Duration(left) * time.Second / time.Duration(c.limits.APIRate))
	}
	return n, nil
}
