package relay

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"containertriggers/shared/delivery"
	"containertriggers/shared/invoke"
	"containertriggers/shared/table"
	"containertriggers/shared/target"
	"containertriggers/shared/trigger"
)

// source receives a trigger's events.
type source interface {
	// count counts what was dropped since it was asked last.
	count()
	// retire keeps the subscription, but makes no new one: another config is about
	// to have it.
	retire()
	// close stops receiving and returns when all that was received is dealt with.
	// To forget is to remove what is kept for the trigger at the server, too.
	close(forget bool)
}

// holding is a trigger's subscription and what there is to know of it.
type holding struct {
	*run
	id         string
	generation int64
	// opened is the trigger as its source was opened with: the target may be ahead
	// of it.
	opened trigger.Trigger
	// visits says that nothing is to be received.
	visits bool
	source source
	slots  chan struct{}
	ctx    context.Context // of its deliveries

	target     atomic.Pointer[target.Target]
	refreshing sync.Mutex

	// failure is how the last call failed, "" if it did not; dropped how many
	// messages came too fast, droppedAt when the last of them did.
	failure   atomic.Pointer[string]
	dropped   atomic.Int64
	droppedAt atomic.Int64

	// gone says that the trigger or its container is not there any more.
	gone atomic.Bool
	// calling is how many calls are under way.
	calling atomic.Int64

	mu      sync.Mutex
	state   string // why the source does not work, "" if it does
	changed chan struct{}
	first   chan struct{} // closed when the state is known
	isKnown bool
	settle  bool // the row has to be told of the state
	ended   chan struct{}
	tending sync.WaitGroup
}

// tendEvery is how often the row's error_message is brought up to date.
const tendEvery = time.Second

// hold begins to hold a trigger's subscription.
func (r *run) hold(found reading) *holding { return r.begin(found, false) }

// visit connects to a trigger's server and receives nothing there: for what is to be
// removed from it.
func (r *run) visit(found reading) *holding { return r.begin(found, true) }

func (r *run) begin(found reading, visits bool) *holding {
	t := found.target.Trigger
	h := &holding{
		run: r, id: t.ID, generation: t.Generation, opened: t, visits: visits, ctx: r.deliveries,
		slots: make(chan struct{}, r.Concurrency), changed: make(chan struct{}, 1), first: make(chan struct{}), ended: make(chan struct{}),
	}
	h.target.Store(found.target)
	failure := ""
	h.failure.Store(&failure)
	switch {
	case found.sealed != nil:
		h.report("the trigger's secret cannot be opened: give it anew")
		h.source = nothing{}
	case t.NATS != nil:
		h.source = openNATS(h, *t.NATS, found.secret)
	default:
		h.source = openSQS(h, *t.SQS, found.secret)
	}
	h.tending.Go(h.tend)
	return h
}

// nothing is the source of a trigger that cannot have one.
type nothing struct{}

func (nothing) count()     {}
func (nothing) retire()    {}
func (nothing) close(bool) {}

// report tells the state of the source: "" when it works, else why it does not.
func (h *holding) report(state string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.isKnown && state == h.state {
		return
	}
	if !h.isKnown {
		h.isKnown = true
		close(h.first)
	}
	h.state, h.settle = state, true
	if state == "" {
		h.log.InfoContext(h.ctx, "subscribed", "trigger_id", h.id)
	} else {
		h.log.WarnContext(h.ctx, "not subscribed", "trigger_id", h.id, "reason", state)
	}
	h.signal()
}

func (h *holding) signal() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// known waits until the state is known, or ctx is over.
func (h *holding) known(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case <-h.first:
	case <-ctx.Done():
	}
}

// resettle has the row told of the state again.
func (h *holding) resettle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle = h.isKnown
	h.signal()
}

// adopt goes on with the same source for a trigger that has changed otherwise.
func (h *holding) adopt(found *target.Target) {
	h.target.Store(found)
	h.mu.Lock()
	h.generation = found.Trigger.Generation
	h.mu.Unlock()
	h.resettle()
}

// sameSource says whether a trigger has the source that is held.
func (h *holding) sameSource(t trigger.Trigger) bool {
	return reflect.DeepEqual(h.opened.NATS, t.NATS) && reflect.DeepEqual(h.opened.SQS, t.SQS) && bytes.Equal(h.opened.SealedSecret, t.SealedSecret)
}

// tend keeps the trigger's row true until the holding ends.
func (h *holding) tend() {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		select {
		case <-h.ended:
			h.note()
			return
		case <-h.changed:
			h.tell()
		case <-ticker.C:
			h.tell()
			h.note()
		}
	}
}

// tell settles the row by the source's state, if it has to be.
func (h *holding) tell() {
	h.mu.Lock()
	state, generation, due := h.state, h.generation, h.settle
	h.settle = false
	h.mu.Unlock()
	if !due {
		return
	}
	found, err := h.Find(h.ctx, h.id, h.target.Load().Container.ID, h.target.Load())
	if err == nil && found.Trigger.Generation == generation && found.Trigger.Status != trigger.Deleting && h.has(found.Trigger) {
		h.target.Store(found)
		if err = h.Triggers.Settle(h.ctx, found.Trigger, state, h.Now()); err == nil {
			h.refresh(h.ctx)
		}
	}
	if err != nil && !errors.Is(err, table.ErrSuperseded) && !errors.Is(err, table.ErrNotFound) {
		h.log.WarnContext(h.ctx, "settling a trigger failed", "trigger_id", h.id, "error", err)
		h.mu.Lock()
		h.settle = true // with the next tick
		h.mu.Unlock()
	}
}

// slowFor is for how long error_message tells that messages were dropped.
const slowFor = time.Minute

// note writes how calls fail into error_message, if that is news.
func (h *holding) note() {
	h.source.count()
	to := h.target.Load()
	message := *h.failure.Load()
	if n := h.dropped.Load(); n > 0 && h.Now().Sub(time.Unix(0, h.droppedAt.Load())) < slowFor {
		message = slowConsumer(n)
	}
	if to.Trigger.Status != trigger.Ready || message == to.ErrorMessage() {
		return
	}
	if err := to.Note(h.ctx, h.Triggers, message); err != nil {
		h.log.WarnContext(h.ctx, "noting a failure failed", "trigger_id", h.id, "error", err)
	}
}

// to is the target, as it was within the last seconds. Half of that time before
// it has to be read again, that is begun, so that no call waits for it.
func (h *holding) to(ctx context.Context) *target.Target {
	current := h.target.Load()
	switch now := h.Now(); {
	case !current.Fresh(now):
		h.refreshing.Lock()
		defer h.refreshing.Unlock()
		if current = h.target.Load(); !current.Fresh(h.Now()) {
			h.refresh(ctx)
		}
		return h.target.Load()
	case !current.Fresh(now.Add(target.KeptFor / 2)):
		if h.refreshing.TryLock() {
			go func() {
				defer h.refreshing.Unlock()
				h.refresh(h.ctx)
			}()
		}
	}
	return current
}

func (h *holding) refresh(ctx context.Context) {
	last := h.target.Load()
	found, err := h.Find(ctx, h.id, last.Container.ID, last)
	switch {
	case err == nil:
		h.target.CompareAndSwap(last, found)
	case errors.Is(err, table.ErrNotFound):
		h.gone.Store(true)
	default:
		slog.WarnContext(ctx, "reading a trigger again failed", "trigger_id", h.id, "error", err)
	}
}

// call calls the container, and notes how that went.
func (h *holding) call(ctx context.Context, event invoke.Event) error {
	if h.calling.Add(1) > ownCalls {
		h.common <- struct{}{}
		defer func() { <-h.common }()
	}
	defer h.calling.Add(-1)
	to := h.to(ctx)
	err := error(&invoke.Failure{Message: "the trigger or its container is gone"})
	if !h.gone.Load() {
		err = to.Call(ctx, h.Caller, event)
	}
	failure := ""
	if err != nil {
		failure = err.Error()
	}
	if *h.failure.Load() != failure {
		h.failure.Store(&failure)
	}
	return err
}

// persist calls the container for an event that nobody keeps, until it is taken or
// given up. It is given up at once when the run's time is over.
func (h *holding) persist(ctx context.Context, event invoke.Event) error {
	for try := 1; ; try++ {
		err := h.call(ctx, event)
		if err == nil || try == tries || ctx.Err() != nil {
			return err
		}
		var wanted time.Duration
		if failure, ok := errors.AsType[*invoke.Failure](err); ok {
			wanted = min(failure.RetryAfter, longestPause)
		}
		select {
		case <-time.After(delivery.Backoff(try, wanted)):
		case <-ctx.Done():
			return err
		}
	}
}

const (
	// tries is how often the container is called for an event that nobody keeps: at
	// once, and after 1, 2 and 4 seconds, or after what it asks for.
	tries        = 4
	longestPause = 30 * time.Second
)

// close ends the subscription and returns when all that it brought is dealt with.
func (h *holding) close(forget bool) {
	h.source.close(forget)
	close(h.ended)
	h.tending.Wait()
}

// replacedBy closes a subscription whose successor, of the same trigger with
// another config, is there already.
func (h *holding) replacedBy(next *holding) {
	old, isNATS := h.source.(*natsSource)
	if isNATS {
		h.close(old.leftBy(next.source))
		return
	}
	h.close(false)
}
