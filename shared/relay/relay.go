// Package relay holds the subscriptions of triggers for whose source AWS has no
// event source mapping: NATS subjects, and SQS queues outside the deployment's
// account and region.
//
// The triggers are spread over shards. A lease lets one relay run a shard; its
// successor subscribes first and takes the lease then, upon which the predecessor
// drains: what it received it delivers. Between runs nothing is lost of a
// JetStream stream or a queue, and nothing of core NATS unless a relay died.
package relay

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"containertriggers/shared/invoke"
	"containertriggers/shared/queue"
	"containertriggers/shared/table"
	"containertriggers/shared/target"
	"containertriggers/shared/trigger"
)

const (
	// followEvery is how often a relay looks which triggers it has, and renews its
	// lease; a run shorter than twenty times that does so twenty times.
	followEvery = 2 * time.Second
	// leaseTime is after how long without a renewal a relay counts as dead.
	leaseTime = 15 * time.Second
	// handOver is how long before its end a relay wants a successor, which the
	// watchdog brings within a minute; a run shorter than three times that wants
	// it at two thirds.
	handOver = 150 * time.Second
	// idleAfter is how many looks without a trigger end a run.
	idleAfter = 5
	// changesAtOnce is how many changed triggers are worked on at the same time.
	changesAtOnce = 16
)

// Relay runs one shard.
type Relay struct {
	target.Finder
	Claims table.Claims
	Caller *invoke.Caller
	// Home is where the deployment's own queues are.
	Home queue.Home
	// Dead takes what was given up and no source keeps.
	Dead DeadLetters
	// Dialer reaches servers and endpoints that users name.
	Dialer Dialer
	// Concurrency is how many calls of one trigger are under way at the same time.
	Concurrency int
}

// Run runs a shard in the name of holder, until ctx is over, another relay has
// taken the shard, or no trigger needs it. It leaves at once where the shard is
// not wanted. When it returns, all that was received is dealt with. stop ends the
// run early.
func (r *Relay) Run(ctx context.Context, shard, holder string, stop <-chan struct{}) error {
	log := slog.With("shard", shard, "request_id", holder)
	lease, err := r.Claims.Lease(ctx, shard)
	if err != nil {
		return err
	}
	if !lease.Wanted(r.Now()) {
		log.InfoContext(ctx, "nothing to do: the shard has a relay")
		return nil
	}
	run := &run{Relay: r, shard: shard, holder: holder, held: map[string]*holding{}, log: log}
	every, ending, last := times(ctx, r.Now())
	// Deliveries outlive what ends the run, but not the function.
	deliveries, cancel := context.WithDeadline(context.WithoutCancel(ctx), last)
	defer cancel()
	run.deliveries = deliveries

	if lease.Ending {
		// Subscribed first: the predecessor goes on until the lease is taken.
		if err := run.follow(ctx); err != nil {
			return err
		}
		run.settled(ctx)
	}
	if err := r.Claims.TakeLease(ctx, shard, holder, r.Now(), r.Now().Add(leaseTime)); err != nil {
		run.close()
		if errors.Is(err, table.ErrSuperseded) {
			log.InfoContext(ctx, "nothing to do: another relay was faster")
			return nil
		}
		return err
	}
	log.InfoContext(ctx, "running", "after", lease.Holder)
	reason := run.loop(ctx, stop, every, ending)
	log.InfoContext(ctx, "draining", "reason", reason, "triggers", len(run.held))
	run.close()
	log.InfoContext(ctx, "ended")
	return nil
}

// times tells how often a run looks around, when it wants a successor, and when it
// must have drained.
func times(ctx context.Context, now time.Time) (every time.Duration, ending, last time.Time) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = now.Add(15 * time.Minute)
	}
	length := deadline.Sub(now)
	return min(followEvery, length/20), deadline.Add(-min(handOver, length/3)), deadline.Add(-min(recordTime, length/10))
}

// recordTime is kept of the run for what the last deliveries leave to be written.
const recordTime = 10 * time.Second

// run is one run of a shard.
type run struct {
	*Relay
	shard, holder string
	log           *slog.Logger
	deliveries    context.Context
	held          map[string]*holding // by the trigger's ID
	idle          int
}

// loop follows the shard's triggers until there is a reason to end.
func (r *run) loop(ctx context.Context, stop <-chan struct{}, every time.Duration, ending time.Time) (reason string) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	renewed := r.Now()
	for {
		if err := r.follow(ctx); err != nil {
			r.log.WarnContext(ctx, "looking for triggers failed", "error", err)
		}
		if r.idle >= idleAfter {
			r.drop(ctx)
			return "no trigger needs it"
		}
		// The last third of the hand-over is for draining, successor or not.
		now := r.Now()
		if deadline, ok := ctx.Deadline(); ok && deadline.Sub(now) < deadline.Sub(ending)/3 {
			r.drop(ctx)
			return "its time is over, and no successor came"
		}
		switch err := r.Claims.RenewLease(ctx, r.shard, r.holder, now.Add(leaseTime), now.After(ending)); {
		case err == nil:
			renewed = now
		case errors.Is(err, table.ErrSuperseded):
			return "the successor has taken over"
		case now.Sub(renewed) > leaseTime:
			return "its lease is over"
		default:
			r.log.WarnContext(ctx, "renewing the lease failed", "error", err)
		}
		select {
		case <-ticker.C:
		case <-stop:
			r.drop(ctx)
			return "it is stopped"
		case <-ctx.Done():
			return "its time is over"
		}
	}
}

func (r *run) drop(ctx context.Context) {
	if err := r.Claims.DropLease(ctx, r.shard, r.holder); err != nil {
		r.log.WarnContext(ctx, "dropping the lease failed", "error", err)
	}
}

// follow brings the subscriptions in line with the shard's triggers. Those of
// triggers that did not change are left alone.
func (r *run) follow(ctx context.Context) error {
	listed, err := r.Triggers.OnRelay(ctx, r.shard, 0)
	if err != nil {
		return err
	}
	if r.idle++; len(listed) > 0 {
		r.idle = 0
	}
	present := make(map[string]bool, len(listed))
	var (
		changes sync.WaitGroup
		mu      sync.Mutex
		changed = map[string]*holding{}
		limit   = make(chan struct{}, changesAtOnce)
	)
	for _, entry := range listed {
		present[entry.ID] = true
		current := r.held[entry.ID]
		if current != nil && entry.Status != trigger.Deleting && current.generation == entry.Generation {
			if entry.ObservedGeneration != entry.Generation {
				current.resettle()
			}
			continue
		}
		limit <- struct{}{}
		changes.Go(func() {
			defer func() { <-limit }()
			next := r.change(ctx, entry, current)
			mu.Lock()
			defer mu.Unlock()
			changed[entry.ID] = next
		})
	}
	for id, current := range r.held {
		if !present[id] {
			mu.Lock()
			changed[id] = nil
			mu.Unlock()
			changes.Go(func() { current.close(false) })
		}
	}
	changes.Wait()
	for id, next := range changed {
		if next == nil {
			delete(r.held, id)
		} else {
			r.held[id] = next
		}
	}
	return nil
}

// change carries out one trigger's change, and gives what is held of it then.
func (r *run) change(ctx context.Context, entry table.Relayed, current *holding) *holding {
	found, err := r.Find(ctx, entry.ID, entry.ContainerID, nil)
	switch {
	case errors.Is(err, table.ErrNotFound) || err == nil && found.Trigger.Status == trigger.Deleting:
		if err == nil && current == nil {
			// What it left behind at a server has to be removed all the same.
			current = r.hold(found)
		}
		if current != nil {
			current.close(true)
		}
		if err := r.Triggers.SetRelay(ctx, entry.ID, ""); err != nil {
			r.log.WarnContext(ctx, "letting a trigger go failed", "trigger_id", entry.ID, "error", err)
		}
		return nil
	case err != nil:
		r.log.WarnContext(ctx, "reading a trigger failed", "trigger_id", entry.ID, "error", err)
		return current
	case found.Trigger.Relay != r.shard:
		return current // the index lags
	case current != nil && current.sameSource(found.Trigger):
		current.adopt(found)
		return current
	}
	next := r.hold(found)
	if current != nil {
		next.known(ctx) // so that the one is there before the other goes
		current.replacedBy(next)
	}
	return next
}

// settled waits until each subscription is there, or is known not to come.
func (r *run) settled(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*followEvery)
	defer cancel()
	for _, h := range r.held {
		h.known(ctx)
	}
}

// close drains all subscriptions.
func (r *run) close() {
	var work sync.WaitGroup
	for _, h := range r.held {
		work.Go(func() { h.close(false) })
	}
	work.Wait()
}
