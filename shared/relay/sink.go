package relay

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/record"
	"containertriggers/shared/platform/backoff"
	"containertriggers/shared/platform/metric"
)

// sink is the part of a subscription that its source uses.
type sink struct {
	triggerID string
	// ctx ends when the run's calls must end.
	ctx context.Context
	// log names the trigger in each line.
	log    *slog.Logger
	now    func() time.Time
	timing Timing
	// concurrency is the maximum number of calls in flight.
	concurrency int
	// maxPending is the maximum number of messages that wait in memory for a free slot.
	maxPending int
	// call calls the container for an event. Repeated says whether it was delivered before.
	call func(ctx context.Context, event invoke.Event, repeated bool) error
	// giveUp records that an event failed for good. It returns an error if its run does not
	// keep the whole event.
	giveUp func(event invoke.Event, failure error) error
	// report records that the source works, or the reason why it does not.
	report func(reason string)
	// addDropped adds dropped messages to the trigger's count and returns the total.
	addDropped  func(n int64) int64
	deadLetters DeadLetters
	// stack is the dimension of the metric DeadLetters.
	stack string
	// connections and memory are the trigger's shares of what the run has.
	connections, memory *share
}

const (
	// maxTries is the number of calls for an event that its source does not keep. The
	// pauses between them are 1, 2 and 4 seconds, or as long as the container asks for,
	// up to maxPause.
	maxTries = 4
	maxPause = 30 * time.Second
)

// callWithRetry calls the container for an event that its source does not keep. It
// returns the last error after maxTries, or at once if the run's time is over.
func (s sink) callWithRetry(event invoke.Event) error {
	for try := 1; ; try++ {
		err := s.call(s.ctx, event, try > 1)
		if err == nil || try == maxTries || s.ctx.Err() != nil {
			return err
		}
		if backoff.Sleep(s.ctx, backoff.Delay(try, min(invoke.RetryAfter(err), maxPause))) != nil {
			return err
		}
	}
}

// deadLetter keeps an event that failed for good, as a failed run or else in the dead-letter
// queue. It logs the loss of the event if the queue does not accept it.
func (s sink) deadLetter(event invoke.Event, failure error) {
	err := s.giveUp(event, failure)
	if err == nil {
		return
	}
	if !errors.Is(err, record.ErrLeftOut) {
		s.log.WarnContext(s.ctx, "a message goes to the dead-letter queue, because its run does not keep it", "event_id", event.ID, "reason", err)
		metric.Count(s.ctx, "dead letter", s.stack, map[string]int{metric.DeadLetters: 1})
	}
	letter := DeadLetter{
		TriggerID: s.triggerID, Reason: failure.Error(), ID: event.ID, Time: event.Time, Subject: event.Subject,
		Headers: event.Header, Payload: event.Body, PayloadBytes: len(event.Body),
	}
	if err := s.deadLetters.Put(s.ctx, letter); err != nil {
		s.log.ErrorContext(s.ctx, "a message is lost, because the dead-letter queue did not accept it", "error", err)
	}
}
