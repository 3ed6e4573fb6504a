package relay

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/trigger"
)

// source receives a trigger's events and delivers them to its sink.
type source interface {
	// countDropped reports the messages dropped since the last count to the sink.
	countDropped()
	// retire keeps the source from renewing state that it shares with the trigger's next
	// source.
	retire()
	// close stops receiving. It returns when every received message is delivered. If
	// cleanup is true, it also deletes the trigger's state at the server.
	close(cleanup bool)
	// obsolete reports whether the trigger's next source does not use the state that this
	// one has at its server.
	obsolete(next source) bool
}

// subscription is the subscription of one trigger.
type subscription struct {
	run        *shardRun
	id         string
	generation int64
	log        *slog.Logger
	// opened is the version of the trigger that the source was opened with. The target
	// may have a newer one.
	opened trigger.Trigger
	source source

	target     atomic.Pointer[resolve.Target]
	refreshing sync.Mutex // held while the target is read again

	// failure is the error of the last call, "" if it succeeded.
	failure atomic.Pointer[string]
	// dropped is the number of messages dropped for a slow container. droppedAt is the
	// time of the last drop in Unix nanoseconds.
	dropped   atomic.Int64
	droppedAt atomic.Int64

	// gone is true once the trigger or its container is deleted.
	gone atomic.Bool
	// kept are the connections of the source. connections and memory are the trigger's
	// shares for calls and messages.
	kept, connections, memory *share
	// refused is the reason why the run does not subscribe for the trigger, or "". looked
	// is when the run last looked whether it still is.
	refused string
	looked  time.Time

	mu      sync.Mutex
	reason  string // why the source does not work, "" if it works
	known   bool   // true once the source has reported
	dirty   bool   // true if the row does not have the reason yet
	changed chan struct{}
	ready   chan struct{} // closed when known becomes true
	ended   chan struct{}
	loop    sync.WaitGroup // waits for statusLoop
}

// subscribe opens the source of a trigger.
func (r *shardRun) subscribe(found snapshot) *subscription { return r.open(found, false) }

// subscribeForCleanup connects to the server of a trigger in order to delete its
// consumer. It receives no message.
func (r *shardRun) subscribeForCleanup(found snapshot) *subscription { return r.open(found, true) }

func (r *shardRun) open(found snapshot, cleanupOnly bool) *subscription {
	t := found.target.Trigger
	s := r.newSubscription(t)
	s.target.Store(found.target)
	if s.refused = found.refused; s.refused == "" {
		s.join()
	}
	switch {
	case s.refused != "":
		s.looked = r.relay.Resolver.Now()
		s.report(s.refused)
		s.source = noopSource{}
	case found.unsealing != nil:
		s.report("the trigger's secret cannot be opened: set it again")
		s.source = noopSource{}
	case t.NATS != nil:
		n := newNATSSource(s.sink(), *t.NATS, r.relay.Positions)
		n.cleanupOnly = cleanupOnly
		n.open(r.relay.Dialer, found.secret)
		s.source = n
	default:
		s.source = openSQS(s.sink(), *t.SQS, found.secret, r.relay.Home, r.relay.Dialer)
	}
	s.loop.Go(s.statusLoop)
	return s
}

func (r *shardRun) newSubscription(t trigger.Trigger) *subscription {
	s := &subscription{
		run: r, id: t.ID, generation: t.Generation, opened: t, log: r.log.With("trigger_id", t.ID),
		changed: make(chan struct{}, 1), ready: make(chan struct{}), ended: make(chan struct{}),
	}
	s.failure.Store(new(string))
	return s
}

// join takes part in what the run has.
func (s *subscription) join() {
	r := s.run
	s.kept, s.connections = r.connections.join(sourceConnections(s.opened)), r.connections.join(minOwnCalls)
	s.memory = r.memory.join(0) // until divide
}

// works reports whether there is a subscription and the run has not refused it.
func (s *subscription) works() bool { return s != nil && s.refused == "" }

// sink returns the sink for the subscription's source.
func (s *subscription) sink() sink {
	relay := s.run.relay
	return sink{
		triggerID: s.id, ctx: s.run.deliveries, log: s.log, now: relay.Resolver.Now, timing: s.run.timing,
		concurrency: relay.Concurrency, maxPending: cmp.Or(relay.MaxPending, defaultMaxPending),
		call: s.call, giveUp: s.giveUp, report: s.report, addDropped: s.addDropped, deadLetters: s.run.deadLetters, stack: relay.Stack,
		connections: s.connections, memory: s.memory,
	}
}

// noopSource is the source of a trigger if its secret cannot be opened, or if the run
// refuses the trigger.
type noopSource struct{}

func (noopSource) countDropped()        {}
func (noopSource) retire()              {}
func (noopSource) close(bool)           {}
func (noopSource) obsolete(source) bool { return false }

// readyTime limits the wait for the first report of a source.
const readyTime = 5 * time.Second

// waitReady waits until the source works or has failed, but no longer than readyTime.
func (s *subscription) waitReady(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	select {
	case <-s.ready:
	case <-ctx.Done():
	}
}

// adopt keeps the source for a new version of the trigger that has the same source.
func (s *subscription) adopt(found *resolve.Target) {
	s.target.Store(found)
	s.mu.Lock()
	s.generation = found.Trigger.Generation
	s.mu.Unlock()
	s.rewriteStatus()
}

// sameSource reports whether a version of the trigger has the source that is open.
func (s *subscription) sameSource(t trigger.Trigger) bool {
	return reflect.DeepEqual(s.opened.NATS, t.NATS) && reflect.DeepEqual(s.opened.SQS, t.SQS) && bytes.Equal(s.opened.SealedSecret, t.SealedSecret)
}

// close closes the source and returns when every message that it received is delivered.
// If cleanup is true, it also deletes the trigger's state at the server.
func (s *subscription) close(cleanup bool) {
	s.source.close(cleanup)
	close(s.ended)
	s.loop.Wait()
	if s.works() {
		s.kept.leave()
		s.connections.leave()
		s.memory.leave()
	}
}

// closeFor closes the subscription after the trigger's next one is open.
func (s *subscription) closeFor(next *subscription) { s.close(s.source.obsolete(next.source)) }
