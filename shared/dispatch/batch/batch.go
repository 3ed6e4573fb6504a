// Package batch calls a container for a batch of a queue's messages. It promises that a
// delivered message is not sent again because another one failed, that a failed message
// comes back after a growing delay, and that the messages of a FIFO group keep their
// order.
package batch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/platform/backoff"
)

// Message is a received message.
type Message struct {
	ID, Receipt string
	// Group is the message group. It is empty for a standard queue.
	Group string
	// Receives is how often the message was received, including this time.
	Receives int
	Event    invoke.Event
}

const (
	// settleEvery is the interval at which a long delivery settles failed messages with SQS.
	settleEvery = time.Second
	// At the first interval, and then every extendEvery intervals, it also sets the visibility
	// timeout of messages in flight to extension. If the run dies, they come back after that
	// time. It cannot wait for long at first, because Lambda may have held the batch for most
	// of the queue's visibility timeout before a run was free (Lambda Developer Guide,
	// "Handling errors for an SQS event source in Lambda").
	extendEvery = 10
	extension   = 3 * extendEvery * settleEvery
	// settleTime limits the calls to SQS after the last call of the container.
	settleTime = 2 * time.Second
	// minCallTime is the least time for a call. If less of the run is left, the call is
	// not begun.
	minCallTime = time.Second
)

// Processor delivers the messages of one queue.
type Processor struct {
	Messages Messages
	// Call calls the container for a message.
	Call func(context.Context, Message) error
}

// Result sorts messages by the outcome of their delivery.
type Result struct {
	// Delivered are the messages that the container accepted. The receiver deletes
	// them.
	Delivered []Message
	// Failed are the messages that the container did not accept. Skipped are the messages
	// without a call, because they follow a failed one in their group or the time was over.
	// Both stay hidden until their next delivery.
	Failed, Skipped []Message
	// Failure says how the last failed call failed. It is empty if no call failed.
	Failure string
}

// Process calls the container for all messages at the same time. The messages of one
// group follow each other, and Process skips the rest of a group after a failure. It
// returns when all calls have ended, or shortly after ctx cuts them off.
func (p Processor) Process(ctx context.Context, messages []Message) Result {
	run := &run{Processor: p, states: make([]state, len(messages)), messages: messages}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var running sync.WaitGroup
		for _, group := range groupsOf(messages) {
			running.Go(func() { run.processGroup(ctx, group) })
		}
		running.Wait()
	}()

	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	for ticks := 1; ; ticks++ {
		select {
		case <-ticker.C:
			run.settle(ctx, ticks%extendEvery == 1)
		case <-done:
			run.settle(ctx, false)
			return run.result()
		}
	}
}

// groupsOf returns the indexes of the messages by group. A message without a group has
// one of its own.
func groupsOf(messages []Message) [][]int {
	groups := make([][]int, 0, len(messages))
	byName := map[string]int{} // the index of a group
	for i, message := range messages {
		group, known := byName[message.Group]
		if message.Group == "" || !known {
			group = len(groups)
			groups = append(groups, nil)
			byName[message.Group] = group
		}
		groups[group] = append(groups[group], i)
	}
	return groups
}

// state is the state of one message.
type state struct {
	phase phase
	// settled is true once SQS has deleted the message or hides it for wait.
	settled bool
	wait    time.Duration
}

type phase int

const (
	pending phase = iota // its call has not begun or not ended
	delivered
	failed
	skipped
)

// run is the state of one Process.
type run struct {
	Processor
	messages []Message

	mu      sync.Mutex
	states  []state
	failure string
}

// processGroup delivers the messages of a group one after another.
func (r *run) processGroup(ctx context.Context, group []int) {
	for n, i := range group {
		message := r.messages[i]
		if deadline, ok := ctx.Deadline(); ctx.Err() != nil || ok && time.Until(deadline) < minCallTime {
			// The message has not failed, so it waits for the shortest back-off.
			r.skip(group[n:], backoff.Delay(1, 0))
			return
		}
		if err := r.Call(ctx, message); err != nil {
			// The rest of its group comes back together with it.
			r.skip(group[n:], backoff.Delay(message.Receives, invoke.RetryAfter(err)))
			r.fail(i, err)
			return
		}
		r.mu.Lock()
		r.states[i].phase = delivered
		r.mu.Unlock()
	}
}

func (r *run) skip(group []int, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range group {
		r.states[i] = state{phase: skipped, wait: wait}
	}
}

func (r *run) fail(i int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[i].phase = failed
	r.failure = err.Error()
}

// settle hides failed and skipped messages for their back-off. With extend set, it also
// extends the visibility timeout of messages in flight, and deletes delivered messages
// before their own timeout ends.
func (r *run) settle(ctx context.Context, extend bool) {
	var (
		hide    []Visibility
		deleted []string
		known   []int
	)
	r.mu.Lock()
	for i, state := range r.states {
		receipt := r.messages[i].Receipt
		switch {
		case state.settled:
		case state.phase == failed || state.phase == skipped:
			hide, known = append(hide, Visibility{Receipt: receipt, For: state.wait}), append(known, i)
		case extend && state.phase == pending:
			hide = append(hide, Visibility{Receipt: receipt, For: extension})
		case extend:
			deleted, known = append(deleted, receipt), append(known, i)
		}
	}
	r.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if err := errors.Join(r.Messages.Delete(ctx, deleted), r.Messages.ChangeVisibility(ctx, hide)); err != nil {
		// The messages come back after their visibility timeout instead.
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
		case failed:
			result.Failed = append(result.Failed, r.messages[i])
		default:
			result.Skipped = append(result.Skipped, r.messages[i])
		}
	}
	return result
}
