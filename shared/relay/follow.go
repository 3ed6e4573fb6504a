package relay

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/awserr"
)

// concurrentReads is the number of changed triggers that are read at the same time.
const concurrentReads = 16

// shardRun is one run of a shard.
type shardRun struct {
	relay         *Relay
	timing        Timing
	began         time.Time
	shard, holder string
	log           *slog.Logger
	// deliveries is the context of the calls.
	deliveries    context.Context
	subscriptions map[string]*subscription // by trigger ID
	// listed is the number of the shard's triggers at the last look, and idle the number of
	// looks in a row without one.
	listed, idle int

	// Subscriptions drain outside of the loop, because the loop renews the lease and
	// must not wait for slow containers or servers.
	draining   sync.WaitGroup
	removingMu sync.Mutex
	removing   map[string]bool // the IDs of triggers that remove is removing

	deadLetters DeadLetters
	// connections counts connections of sources and calls, memory the bytes of messages.
	connections, memory *budget
}

func (r *Relay) newRun(shard, holder string, log *slog.Logger) *shardRun {
	letters := r.DeadLetters
	letters.memory = semaphore.NewWeighted(sendingMemory)
	return &shardRun{
		deadLetters: letters,
		relay:       r, timing: r.Timing.withDefaults(), shard: shard, holder: holder, log: log,
		subscriptions: map[string]*subscription{}, removing: map[string]bool{},
		connections: newBudget(maxConnections), memory: newBudget(cmp.Or(r.Memory, defaultMemory)),
	}
}

// schedule returns the run's schedule, given the timeouts of its containers now.
func (r *shardRun) schedule(ctx context.Context) schedule {
	longest := time.Duration(0)
	for _, s := range r.subscriptions {
		if s.works() {
			longest = max(longest, s.target.Load().Container.Timeout)
		}
	}
	return r.timing.schedule(ctx, r.began, longest)
}

// follow brings the subscriptions in line with the shard's triggers. It does not touch
// subscriptions of unchanged triggers.
func (r *shardRun) follow(ctx context.Context) error {
	listed, err := r.relay.Resolver.Triggers.OnRelay(ctx, r.shard, 0)
	if err != nil {
		return err
	}
	r.listed = len(listed)
	if r.idle++; r.listed > 0 {
		r.idle = 0
	}
	present := make(map[string]bool, len(listed))
	var changed []store.RelayEntry
	for _, entry := range listed {
		present[entry.ID] = true
		current := r.subscriptions[entry.ID]
		switch {
		case current == nil || entry.Status == trigger.Deleting || current.generation != entry.Generation, r.mayAccept(current):
			changed = append(changed, entry)
		case entry.ObservedGeneration != entry.Generation:
			current.rewriteStatus()
		}
	}
	for id, current := range r.subscriptions {
		if !present[id] {
			delete(r.subscriptions, id)
			r.draining.Go(func() { current.close(false) })
		}
	}
	// If the shard has too many triggers, a hand-over must not change which of them work.
	slices.SortStableFunc(changed, func(a, b store.RelayEntry) int { return rank(a) - rank(b) })
	found := make([]snapshot, len(changed))
	var reads errgroup.Group
	reads.SetLimit(concurrentReads)
	for i, entry := range changed {
		current := r.subscriptions[entry.ID]
		reads.Go(func() (err error) {
			found[i], err = r.read(ctx, entry, current)
			return err
		})
	}
	err = reads.Wait() // the next look retries failed reads
	for i, entry := range changed {
		if found[i].target != nil {
			r.apply(entry.ID, found[i])
		}
	}
	r.divide()
	return err
}

// rank returns 0 for a trigger that works and 1 for others.
func rank(entry store.RelayEntry) int {
	if entry.Status == trigger.Ready {
		return 0
	}
	return 1
}

// snapshot is the state of a changed trigger.
type snapshot struct {
	target *resolve.Target // nil if there is nothing to do
	secret secret.Text
	// unsealing is the error of opening the secret if a retry cannot succeed.
	unsealing error
	// refused is the reason why the run does not subscribe for the trigger, or "".
	refused string
}

// read reads a changed trigger. It also opens the secret if the source has changed.
func (r *shardRun) read(ctx context.Context, entry store.RelayEntry, current *subscription) (snapshot, error) {
	if entry.Status == trigger.Deleting {
		return r.readDeleting(ctx, entry, current)
	}
	found, err := r.relay.Resolver.Resolve(ctx, entry.ID, entry.ContainerID)
	if errors.Is(err, store.ErrNotFound) || err == nil && !r.isAssigned(found.Trigger) {
		return snapshot{}, nil
	}
	if err != nil || current.works() && current.sameSource(found.Trigger) {
		return snapshot{target: found}, err
	}
	if current != nil && current.generation == entry.Generation && current.refused == r.refusal(found, current) {
		current.looked = r.relay.Resolver.Now()
		return snapshot{}, nil
	}
	return r.openSecret(ctx, found)
}

// readDeleting reads a trigger with status deleting. Its container may be deleted
// already.
func (r *shardRun) readDeleting(ctx context.Context, entry store.RelayEntry, current *subscription) (snapshot, error) {
	t, err := r.relay.Resolver.Triggers.Get(ctx, entry.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && !r.isAssigned(t) {
		return snapshot{}, nil
	}
	found := &resolve.Target{Trigger: t}
	if err != nil || current.works() {
		return snapshot{target: found}, err
	}
	return r.openSecret(ctx, found)
}

// openSecret returns a snapshot with the secret of the trigger's source.
func (r *shardRun) openSecret(ctx context.Context, found *resolve.Target) (snapshot, error) {
	opened, err := r.relay.Resolver.Sealer.Open(ctx, trigger.Resource, found.Trigger.ID, found.Trigger.SealedSecret)
	if awserr.Transient(err) {
		return snapshot{}, err
	}
	return snapshot{target: found, secret: opened, unsealing: err}, nil
}

// isAssigned reports whether the shard may subscribe for this version of a trigger. It
// may not if the index lags behind, or if reconcile has not assigned the new generation
// to a relay yet.
func (r *shardRun) isAssigned(t trigger.Trigger) bool {
	return t.Relay == r.shard && (t.Status == trigger.Deleting || t.RelayGeneration == t.Generation)
}

// apply brings the subscription of one trigger in line with its snapshot.
func (r *shardRun) apply(id string, found snapshot) {
	current := r.subscriptions[id]
	if found.target.Trigger.Status == trigger.Deleting {
		delete(r.subscriptions, id)
		r.remove(current, found)
		return
	}
	found.refused = r.refusal(found.target, current)
	switch {
	case current != nil && current.refused == found.refused && (found.refused != "" || current.sameSource(found.target.Trigger)):
		current.adopt(found.target)
	default:
		if current != nil {
			current.source.retire()
		}
		next := r.subscribe(found)
		r.subscriptions[id] = next
		if current != nil {
			r.draining.Go(func() {
				next.waitReady(r.deliveries) // otherwise messages between the two are lost
				current.closeFor(next)
			})
		}
	}
}

// remove takes a trigger with status deleting off the shard. Before that it drains the
// trigger's subscription and deletes the consumer, which an earlier run may have
// created.
func (r *shardRun) remove(current *subscription, found snapshot) {
	id := found.target.Trigger.ID
	r.removingMu.Lock()
	defer r.removingMu.Unlock()
	if r.removing[id] {
		return
	}
	r.removing[id] = true
	r.draining.Go(func() {
		if current != nil && !current.works() {
			current.close(false)
			current = nil
		}
		if current == nil && found.target.Trigger.NATS != nil {
			current = r.subscribeForCleanup(found)
			current.waitReady(r.deliveries)
		}
		if current != nil {
			current.close(true)
		}
		if err := r.relay.Positions.Delete(r.deliveries, id); err != nil {
			r.log.Warn("deleting the position failed", "trigger_id", id, "error", err)
		}
		if err := r.relay.Resolver.Triggers.UnsetRelay(r.deliveries, id); err != nil {
			r.log.Warn("taking the trigger off the shard failed", "trigger_id", id, "error", err)
		}
		r.removingMu.Lock()
		defer r.removingMu.Unlock()
		delete(r.removing, id)
	})
}

// waitReady waits until each subscription works or has failed, but no longer than
// readyTime in all.
func (r *shardRun) waitReady(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for _, s := range r.subscriptions {
		s.waitReady(ctx)
	}
}

// close drains all subscriptions and returns when they have ended.
func (r *shardRun) close() {
	for _, s := range r.subscriptions {
		r.draining.Go(func() { s.close(false) })
	}
	r.draining.Wait()
}
