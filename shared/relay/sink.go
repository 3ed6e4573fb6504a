package relay

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/platform/backoff"
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
	// call calls the container for an event.
	call func(context.Context, invoke.Event) error
	// report records that the source works, or the reason why it does not.
	report func(reason string)
	// addDropped adds dropped messages to the trigger's count and returns the total.
	addDropped  func(n int64) int64
	deadLetters DeadLetters
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
		err := s.call(s.ctx, event)
		if err == nil || try == maxTries || s.ctx.Err() != nil {
			return err
		}
		var wanted time.Duration
		if failure, ok := errors.AsType[*invoke.Failure](err); ok {
			wanted = min(failure.RetryAfter, maxPause)
		}
		if backoff.Sleep(s.ctx, backoff.Delay(try, wanted)) != nil {
			return err
		}
	}
}

// deadLetter keeps a message that failed for good. It logs the loss of the message if
// the dead-letter queue does not accept it.
func (s sink) deadLetter(letter DeadLetter) {
	letter.TriggerID = s.triggerID
	if err := s.deadLetters.Put(s.ctx, letter); err != nil {
		s.log.ErrorContext(s.ctx, "a message is lost, because the dead-letter queue did not accept it", "error", err)
	}
}
