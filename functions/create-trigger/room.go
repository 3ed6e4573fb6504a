package main

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"containertriggers/shared/fault"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

// quotas are how many triggers there may be, of a container and of an organization
// in a region, and how many requests the API lets through.
type quotas struct {
	PerContainer    int `env:"TRIGGERS_PER_CONTAINER,required"`
	PerOrganization int `env:"TRIGGERS_PER_ORGANIZATION,required"`
	// APIRate is requests a second, APIBurst how many may come at once besides.
	APIRate  int `env:"API_RATE,required"`
	APIBurst int `env:"API_BURST,required"`
}

// room tells whether the quotas allow one more trigger. Triggers are counted, not
// kept count of: creates at the same moment may go beyond by as many as they are.
//
// Counting reads all there are, and a partition of an index is read at no more than
// 3,000 units a second (DynamoDB's quotas): at each create it would slow down who
// has many. So what was counted is taken to have left room for as long as the API
// cannot have let through enough creates since to fill it. It is safe for concurrent
// use.
type room struct {
	quotas   quotas
	triggers table.Triggers
	now      func() time.Time

	mu    sync.Mutex
	until map[string]time.Time // by the ID of a container, or the owner's key
}

// mostRemembered bounds the memory that counts take.
const mostRemembered = 1000

func newRoom(q quotas, triggers table.Triggers, now func() time.Time) *room {
	return &room{quotas: q, triggers: triggers, now: now, until: map[string]time.Time{}}
}

// look is nil where there is room for t, or quotas_exceeded.
func (r *room) look(ctx context.Context, t trigger.Trigger) error {
	var ofContainer, ofOrganization int
	counts, countCtx := errgroup.WithContext(ctx)
	counts.Go(func() (err error) {
		ofContainer, err = r.count(t.ContainerID, r.quotas.PerContainer, func(most int) (int, error) {
			return r.triggers.CountOfContainer(countCtx, t.ContainerID, most)
		})
		return err
	})
	counts.Go(func() (err error) {
		ofOrganization, err = r.count(t.Region+" "+t.OrganizationID, r.quotas.PerOrganization, func(most int) (int, error) {
			return r.triggers.CountOfOrganization(countCtx, t.Region, t.OrganizationID, most)
		})
		return err
	})
	if err := counts.Wait(); err != nil {
		return err
	}
	var exceeded []fault.Quota
	for _, q := range []fault.Quota{
		{Resource: "triggers_per_container", Quota: r.quotas.PerContainer, Current: ofContainer},
		{Resource: "triggers_per_organization", Quota: r.quotas.PerOrganization, Current: ofOrganization},
	} {
		if q.Current >= q.Quota {
			exceeded = append(exceeded, q)
		}
	}
	if len(exceeded) > 0 {
		return fault.QuotasExceeded(exceeded...)
	}
	return nil
}

// count is how many there are of what is named, up to its quota; 0 where it is known
// that there is room.
func (r *room) count(name string, quota int, count func(most int) (int, error)) (int, error) {
	now := r.now()
	r.mu.Lock()
	until := r.until[name]
	r.mu.Unlock()
	if now.Before(until) {
		return 0, nil
	}
	n, err := count(quota)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.until) >= mostRemembered {
		clear(r.until)
	}
	if left := quota - n - r.quotas.APIBurst; left > 0 {
		r.until[name] = now.Add(time.Duration(left) * time.Second / time.Duration(r.quotas.APIRate))
	}
	return n, nil
}
