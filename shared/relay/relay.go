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
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"containertriggers/shared/awserr"
	"containertriggers/shared/invoke"
	"containertriggers/shared/queue"
	"containertriggers/shared/secret"
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
	// readsAtOnce is how many changed triggers are read at the same time.
	readsAtOnce = 16
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
	Dialer *net.Dialer
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
	run := r.newRun(shard, holder, log)
	every, ending, last := times(ctx, r.Now())
	// Deliveries outlive what ends the run, but not the function.
	deliveries, cancel := context.WithDeadline(context.WithoutCancel(ctx), last)
	defer cancel()
	run.deliveries = deliveries

	if lease.Ending {
		// Subscribed first: the predecessor goes on until the lease is taken.
		if err := run.follow(ctx); err != nil {
			run.close()
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

	// What is let go drains beside the loop, which must not wait for slow containers
	// or servers: it has a lease to renew.
	draining  sync.WaitGroup
	leavingMu sync.Mutex
	leaving   map[string]bool // triggers that are being taken from the shard

	// common has a place for each call beyond a trigger's own.
	common chan struct{}
}

// A run may have 1,024 files open (Lambda's quota), and most calls need a
// connection. Each trigger has some calls of its own, which no other trigger's slow
// container can take from it; what it makes beyond is from what all have in common.
const (
	ownCalls    = 16
	commonCalls = 512
)

func (r *Relay) newRun(shard, holder string, log *slog.Logger) *run {
	return &run{
		Relay: r, shard: shard, holder: holder, held: map[string]*holding{}, leaving: map[string]bool{}, log: log,
		common: make(chan struct{}, commonCalls),
	}
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
	var changed []table.Relayed
	for _, entry := range listed {
		present[entry.ID] = true
		current := r.held[entry.ID]
		switch {
		case current == nil || entry.Status == trigger.Deleting || current.generation != entry.Generation:
			changed = append(changed, entry)
		case entry.ObservedGeneration != entry.Generation:
			current.resettle()
		}
	}
	for id, current := range r.held {
		if !present[id] {
			delete(r.held, id)
			r.draining.Go(func() { current.close(false) })
		}
	}
	found := make([]reading, len(changed))
	var reads errgroup.Group
	reads.SetLimit(readsAtOnce)
	for i, entry := range changed {
		current := r.held[entry.ID]
		reads.Go(func() (err error) {
			found[i], err = r.read(ctx, entry, current)
			return err
		})
	}
	err = reads.Wait() // what could not be read the next look tries again
	for i, entry := range changed {
		if found[i].target != nil {
			r.change(entry.ID, found[i])
		}
	}
	return err
}

// reading is what a changed trigger is now. The target is nil where there is
// nothing to do.
type reading struct {
	target *target.Target
	secret secret.Text
	// sealed is why the secret cannot be opened, which trying again will not change.
	sealed error
}

// read reads a changed trigger, and its source's secret if that has changed, too.
func (r *run) read(ctx context.Context, entry table.Relayed, current *holding) (reading, error) {
	if entry.Status == trigger.Deleting {
		return r.readLeaving(ctx, entry, current)
	}
	found, err := r.Find(ctx, entry.ID, entry.ContainerID, nil)
	if errors.Is(err, table.ErrNotFound) || err == nil && !r.has(found.Trigger) {
		return reading{}, nil
	}
	if err != nil || current != nil && current.sameSource(found.Trigger) {
		return reading{target: found}, err
	}
	return r.open(ctx, found)
}

// open opens the secret of a trigger's source.
func (r *run) open(ctx context.Context, found *target.Target) (reading, error) {
	opened, err := r.Sealer.Open(ctx, trigger.Resource, found.Trigger.ID, found.Trigger.SealedSecret)
	if awserr.Transient(err) {
		return reading{}, err
	}
	return reading{found, opened, err}, nil
}

// readLeaving reads a trigger that is being deleted, whose container may be gone.
func (r *run) readLeaving(ctx context.Context, entry table.Relayed, current *holding) (reading, error) {
	t, err := r.Triggers.Get(ctx, entry.ID)
	if errors.Is(err, table.ErrNotFound) || err == nil && !r.has(t) {
		return reading{}, nil
	}
	found := &target.Target{Trigger: t}
	if err != nil || current != nil {
		return reading{target: found}, err
	}
	return r.open(ctx, found)
}

// has says whether a trigger is the shard's to hold as it is now: the index may lag,
// and reconcile may not have decided yet what becomes of a new generation.
func (r *run) has(t trigger.Trigger) bool {
	return t.Relay == r.shard && (t.Status == trigger.Deleting || t.RelayGeneration == t.Generation)
}

// change carries out one trigger's change.
func (r *run) change(id string, found reading) {
	current := r.held[id]
	switch {
	case found.target.Trigger.Status == trigger.Deleting:
		delete(r.held, id)
		r.leave(current, found)
	case current != nil && current.sameSource(found.target.Trigger):
		current.adopt(found.target)
	default:
		if current != nil {
			current.source.retire()
		}
		next := r.hold(found)
		r.held[id] = next
		if current != nil {
			r.draining.Go(func() {
				next.known(r.deliveries) // the one is there before the other goes
				current.replacedBy(next)
			})
		}
	}
}

// leave takes a trigger that is being deleted from the shard, once its subscription
// is drained and what it left at a server is removed; that may be of an earlier
// run.
func (r *run) leave(current *holding, found reading) {
	id := found.target.Trigger.ID
	r.leavingMu.Lock()
	defer r.leavingMu.Unlock()
	if r.leaving[id] {
		return
	}
	r.leaving[id] = true
	r.draining.Go(func() {
		if current == nil && found.target.Trigger.NATS != nil {
			current = r.visit(found)
			current.known(r.deliveries)
		}
		if current != nil {
			current.close(true)
		}
		if err := r.Triggers.UnsetRelay(r.deliveries, id); err != nil {
			r.log.Warn("letting a trigger go failed", "trigger_id", id, "error", err)
		}
		r.leavingMu.Lock()
		defer r.leavingMu.Unlock()
		delete(r.leaving, id)
	})
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
	for _, h := range r.held {
		r.draining.Go(func() { h.close(false) })
	}
	r.draining.Wait()
}
