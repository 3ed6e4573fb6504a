// Package delivery brings the messages of a queue to a container, with what a
// queue's user relies on: a message that the container took is never sent again
// because another one failed, a message that it did not take comes back after a
// while that grows, and the messages of a FIFO queue's group keep their order.
package delivery

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"containertriggers/shared/invoke"
	"containertriggers/shared/queue"
)

// Message is a message that was received.
type Message struct {
	ID, Receipt string
	// Group is the message group of a FIFO queue, empty for a standard queue.
	Group string
	// Receives is how often the message was received, this time included.
	Receives int
	Event    invoke.Event
}

const (
	// look is how often a delivery that takes long tells SQS what failed meanwhile.
	look = time.Second
	// Every so many looks it also tends to the others: those under way are hidden
	// for hold from then on. So a message comes back that soon when the run dies.
	tendEvery = 10
	hold      = 3 * tendEvery * look
	// settleTime bounds the calls to SQS after the last call of the container.
	settleTime = 2 * time.Second
	// leastTime is the shortest that a call is given; with less of the run left it
	// is not begun.
	leastTime = time.Second
)

// Delivery delivers messages of one queue.
type Delivery struct {
	Messages queue.Messages
	// Call brings a message to the container.
	Call func(context.Context, invoke.Event) error
}

// Result is what became of messages.
type Result struct {
	// Delivered are those that the container took. Whoever received them deletes
	// them.
	Delivered []Message
	// Refused are those that it did not take, Untried those that it was not called
	// for: they follow a refused one, or there was no time. Both are hidden until
	// they are to be tried again.
	Refused, Untried []Message
	// Failure is how the last failed call failed; empty where none did.
	Failure string
}

// Deliver calls the container for each message, for all at the same time, but for
// those of one message group: they follow each other, and after the first that
// fails none of the group is tried. It returns when all calls are done, or shortly
// after ctx, which cuts them off.
func (d Delivery) Deliver(ctx context.Context, messages []Message) Result {
	run := &run{Delivery: d, states: make([]state, len(messages)), messages: messages}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var lanes sync.WaitGroup
		for _, lane := range lanesOf(messages) {
			lanes.Go(func() { run.lane(ctx, lane) })
		}
		lanes.Wait()
	}()

	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for looks := 1; ; looks++ {
		select {
		case <-ticker.C:
			run.settle(ctx, looks%tendEvery == 0)
		case <-done:
			run.settle(ctx, false)
			return run.result()
		}
	}
}

// lanesOf gives the indexes of the messages that follow each other.
func lanesOf(messages []Message) [][]int {
	lanes := make([][]int, 0, len(messages))
	groups := map[string]int{}
	for i, message := range messages {
		lane, known := groups[message.Group]
		if message.Group == "" || !known {
			lane = len(lanes)
			lanes = append(lanes, nil)
			groups[message.Group] = lane
		}
		lanes[lane] = append(lanes[lane], i)
	}
	return lanes
}

// state is where one message stands.
type state struct {
	phase phase
	// settled says that SQS knows: that the message is deleted, or hidden for wait.
	settled bool
	wait    time.Duration
}

type phase int

const (
	open phase = iota // not tried yet, or being tried
	delivered
	refused
	untried
)

// run is one call of Deliver.
type run struct {
	Delivery
	messages []Message

	mu      sync.Mutex
	states  []state
	failure string
}

// lane delivers messages one after another.
func (r *run) lane(ctx context.Context, lane []int) {
	for n, i := range lane {
		message := r.messages[i]
		if deadline, ok := ctx.Deadline(); ctx.Err() != nil || ok && time.Until(deadline) < leastTime {
			// Not the message's fault: it need not wait long.
			r.putOff(lane[n:], Backoff(1, 0))
			return
		}
		if err := r.Call(ctx, message.Event); err != nil {
			var wanted time.Duration
			if failure, ok := errors.AsType[*invoke.Failure](err); ok {
				wanted = failure.RetryAfter
			}
			// What follows in its group comes back together with it.
			r.putOff(lane[n:], Backoff(message.Receives, wanted))
			r.refused(i, err)
			return
		}
		r.mu.Lock()
		r.states[i].phase = delivered
		r.mu.Unlock()
	}
}

func (r *run) putOff(lane []int, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range lane {
		r.states[i] = state{phase: untried, wait: wait}
	}
}

func (r *run) refused(i int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[i].phase = refused
	r.failure = err.Error()
}

// settle tells SQS what failed so far: it stays hidden for its back-off. To tend
// is to keep hidden what is under way, and to delete what is delivered, which
// might be sent again otherwise if it stayed much longer.
func (r *run) settle(ctx context.Context, tend bool) {
	var (
		hide    []queue.Hidden
		deleted []string
		known   []int
	)
	r.mu.Lock()
	for i, state := range r.states {
		receipt := r.messages[i].Receipt
		switch {
		case state.settled:
		case state.phase == refused || state.phase == untried:
			hide, known = append(hide, queue.Hidden{Receipt: receipt, For: state.wait}), append(known, i)
		case tend && state.phase == open:
			hide = append(hide, queue.Hidden{Receipt: receipt, For: hold})
		case tend:
			deleted, known = append(deleted, receipt), append(known, i)
		}
	}
	r.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if err := errors.Join(r.Messages.Delete(ctx, deleted), r.Messages.Hide(ctx, hide)); err != nil {
		// They come back at the queue's visibility timeout instead.
		slog.WarnContext(ctx, "settling messages failed", "queue", r.Messages.URL, "error", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range known {
		r.states[i].settled = true
	}
}

func (r *run) result() Result {
	result := Result{Failure: r.failure}
	for i, state := range r.states {
		switch state.phase {
		case delivered:
			result.Delivered = append(result.Delivered, r.messages[i])
		case refused:
			result.Refused = append(result.Refused, r.messages[i])
		default:
			result.Untried = append(result.Untried, r.messages[i])
		}
	}
	return result
}

// The bounds of a message's back-off. What a container asks for with Retry-After
// may be more than ours, but not beyond an hour.
const (
	firstBackoff   = time.Second
	longestBackoff = 15 * time.Minute
	longestWanted  = time.Hour
)

// Backoff is how long a message waits that failed when it was received for the
// nth time: 2^(n-1) seconds (1, 2, 4, 8, …), 15 minutes at most, of which a random
// part of up to a half is taken off, so that what failed together does not come
// back together. It is no shorter than what the container asked for, as long as
// that is an hour or less.
func Backoff(receives int, wanted time.Duration) time.Duration {
	full := longestBackoff
	if shift := max(receives, 1) - 1; shift < 10 {
		full = min(firstBackoff<<shift, longestBackoff)
	}
	return max(full-rand.N(full/2), min(wanted, longestWanted))
}
