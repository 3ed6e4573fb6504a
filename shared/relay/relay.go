// Package relay subscribes to the sources of triggers that AWS has no event source
// mapping for: NATS subjects, and SQS queues outside the deployment's account and
// region.
//
// The triggers are spread over shards. A lease gives each shard to one run at a time. A
// successor subscribes before it takes the lease. Its predecessor then drains: it
// delivers every message that it has received. So a hand-over loses no message of a
// JetStream stream or a queue. It loses messages of core NATS only if a run dies.
package relay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"containertriggers/shared/aws/queue"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/record"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/metric"
)

// idleLooks is the number of looks in a row without a trigger after which a run ends.
const idleLooks = 5

// countInterval is the interval at which a run counts its triggers.
const countInterval = time.Minute

// Relay runs shards.
type Relay struct {
	Resolver resolve.Resolver
	Leases   store.Leases
	// Positions outlive the consumers of JetStream streams.
	Positions store.Positions
	Caller    *invoke.Client
	// Home is the AWS account and region of the deployment.
	Home queue.Home
	// Recorder keeps the runs of messages. If it is nil, there are none.
	Recorder *record.Recorder
	// DeadLetters receives messages that failed for good if neither their source nor the
	// Recorder keeps them.
	DeadLetters DeadLetters
	// Dialer connects to servers and endpoints that users name.
	Dialer *net.Dialer
	// Concurrency is the maximum number of calls in flight for one trigger.
	Concurrency int
	// MaxPending is the maximum number of messages of one core NATS subscription that
	// wait in memory for a free slot. The default is 32,768.
	MaxPending int
	// Stack is the deployment whose metric RelayTriggers the relay counts. Without one, it
	// counts nothing.
	Stack string
	// Memory is how many bytes of messages a run may hold. The default is 256 MiB.
	Memory int64
	Timing Timing
}

// Run runs a shard with holder as the name of the lease's holder. It returns at once if
// the shard has a run that needs no successor. Otherwise it runs until ctx ends, stop
// is closed, a successor takes the lease, or the shard has no trigger. Before it
// returns, it delivers every message that it has received.
func (r *Relay) Run(ctx context.Context, shard, holder string, stop <-chan struct{}) error {
	log := slog.With("shard", shard, "request_id", holder)
	lease, err := r.Leases.Get(ctx, shard)
	if err != nil {
		return err
	}
	if !lease.Wanted(r.Resolver.Now()) {
		log.InfoContext(ctx, "not started: the shard has a relay")
		return nil
	}
	run := r.newRun(shard, holder, log)
	run.began = r.Resolver.Now()
	// Deliveries may outlast ctx, but not the function.
	deliveries, cancel := context.WithDeadline(context.WithoutCancel(ctx), run.schedule(ctx).last)
	defer cancel()
	run.deliveries = deliveries

	if lease.Ending {
		// The predecessor drains when the lease is taken, so subscribe before that.
		if err := run.follow(ctx); err != nil {
			run.close()
			return err
		}
		run.waitReady(ctx)
	}
	if err := r.Leases.Take(ctx, shard, holder, r.Resolver.Now(), r.Resolver.Now().Add(run.timing.LeaseTime)); err != nil {
		run.close()
		if errors.Is(err, store.ErrSuperseded) {
			log.InfoContext(ctx, "not started: another relay took the lease")
			return nil
		}
		return err
	}
	log.InfoContext(ctx, "started", "predecessor", lease.Holder)
	reason := run.loop(ctx, stop)
	log.InfoContext(ctx, "draining", "reason", reason, "triggers", len(run.subscriptions))
	run.close()
	run.flushRuns(deliveries)
	log.InfoContext(ctx, "ended")
	return nil
}

// flushTime limits the time that a run takes to record the last outcomes.
const flushTime = 3 * time.Second

// flushRuns records the last outcomes.
func (r *shardRun) flushRuns(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	r.relay.Recorder.Flush(ctx)
	r.logRuns(ctx)
}

// logRuns logs the metrics of the calls since the last time.
func (r *shardRun) logRuns(ctx context.Context) {
	for _, source := range []trigger.Source{trigger.SourceSQS, trigger.SourceNATS} {
		if counted := r.relay.Recorder.Take(source); counted.Counts[metric.Attempts] > 0 {
			metric.Log(ctx, r.log, "called containers", counted)
		}
	}
}

// loop follows the shard's triggers and renews the lease. It returns the reason for
// which the run ends.
func (r *shardRun) loop(ctx context.Context, stop <-chan struct{}) (reason string) {
	ticker := time.NewTicker(r.schedule(ctx).every)
	defer ticker.Stop()
	renewed, counted := r.relay.Resolver.Now(), time.Time{}
	for {
		if err := r.follow(ctx); err != nil {
			r.log.WarnContext(ctx, "following the triggers failed", "error", err)
		} else if now := r.relay.Resolver.Now(); r.relay.Stack != "" && now.Sub(counted) >= countInterval {
			counted = now
			metric.Count(ctx, "followed", r.relay.Stack, map[string]int{"RelayTriggers": r.listed})
			r.logRuns(ctx)
		}
		if r.idle >= idleLooks {
			r.dropLease(ctx)
			return "the shard has no trigger"
		}
		now, times := r.relay.Resolver.Now(), r.schedule(ctx)
		if now.After(times.draining) {
			r.dropLease(ctx)
			return "the deadline is near, and no successor came"
		}
		switch err := r.relay.Leases.Renew(ctx, r.shard, r.holder, now.Add(r.timing.LeaseTime), now.After(times.ending)); {
		case err == nil:
			renewed = now
		case errors.Is(err, store.ErrSuperseded):
			return "a successor took the lease"
		case now.Sub(renewed) > r.timing.LeaseTime:
			return "the lease expired"
		default:
			r.log.WarnContext(ctx, "renewing the lease failed", "error", err)
		}
		select {
		case <-ticker.C:
		case <-stop:
			r.dropLease(ctx)
			return "it was stopped"
		case <-ctx.Done():
			return "the deadline has passed"
		}
	}
}

// dropLease ends the lease, so that the next run can start at once.
func (r *shardRun) dropLease(ctx context.Context) {
	if err := r.relay.Leases.Drop(ctx, r.shard, r.holder); err != nil {
		r.log.WarnContext(ctx, "dropping the lease failed", "error", err)
	}
}
