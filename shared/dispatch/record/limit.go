package record

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/metric"
)

const (
	// rowsPerSecond limits the outcomes of one trigger that may make a row.
	rowsPerSecond = 10
	// endsPerSecond limits the other ones, which are the successes after a failure. A run
	// whose end is missing would say for days that it is retried, so there may be more.
	endsPerSecond = 100
	// leftOutTime is how long a trigger says that runs were left out.
	leftOutTime = time.Minute
	// maxLimits is the number of triggers at which the recorder forgets those that are far
	// from their limits.
	maxLimits = 1000
)

// limit limits the outcomes of one trigger.
type limit struct {
	rows, ends *rate.Limiter
	// leftOut is when an outcome was last left out.
	leftOut time.Time
}

// ErrLeftOut is the error of an event that has no run, or not all of it, for a reason that lies
// with its trigger. The service works.
var ErrLeftOut = errors.New("the run is left out")

var (
	errTooMany  = fmt.Errorf("%w: the trigger has too many runs a second", ErrLeftOut)
	errNotWhole = fmt.Errorf("%w: the event is too large", ErrLeftOut)
	errNone     = fmt.Errorf("%w: the trigger's history is none", ErrLeftOut)
	errFull     = errors.New("too many runs wait to be recorded")
	errSlow     = errors.New("the table of runs is too slow")
)

// admit takes an outcome into account. It returns an error if a limit is reached.
func (r *Recorder) admit(e *entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.limitOf(e.run.TriggerID)
	err := error(nil)
	switch limiter := l.limiter(e.existing); {
	case r.waiting >= maxWaiting, r.bytes+e.size > maxBytes:
		err = errFull
	case !limiter.AllowN(r.now(), 1):
		err = errTooMany
	}
	if err != nil {
		l.leftOut = r.now()
		r.countsOf(e.source).numbers[metric.RunsNotRecorded]++
		return err
	}
	r.waiting++
	r.bytes += e.size
	return nil
}

// release gives back what admit took, and counts an outcome that was not written.
func (r *Recorder) release(e *entry, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting--
	r.bytes -= e.size
	if err != nil {
		r.limitOf(e.run.TriggerID).leftOut = r.now()
		r.countsOf(e.source).numbers[metric.RunsNotRecorded]++
	}
}

// LeavesOut reports whether runs of a trigger were not recorded in the last minute.
func (r *Recorder) LeavesOut(triggerID string) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.limits[triggerID]
	return l != nil && r.now().Sub(l.leftOut) < leftOutTime
}

func (l *limit) limiter(existing bool) *rate.Limiter {
	if existing {
		return l.ends
	}
	return l.rows
}

// limitOf returns the limit of a trigger. The caller holds r.mu.
func (r *Recorder) limitOf(triggerID string) *limit {
	if l := r.limits[triggerID]; l != nil {
		return l
	}
	if len(r.limits) >= maxLimits {
		for id, l := range r.limits {
			if now := r.now(); l.rows.TokensAt(now) >= rowsPerSecond && now.Sub(l.leftOut) > leftOutTime {
				delete(r.limits, id)
			}
		}
	}
	l := &limit{rows: rate.NewLimiter(rowsPerSecond, rowsPerSecond), ends: rate.NewLimiter(endsPerSecond, endsPerSecond)}
	r.limits[triggerID] = l
	return l
}

// counts are the metrics of a source.
type counts struct {
	numbers map[string]int
	// durations is a random sample.
	durations []time.Duration
}

// count counts a call and, if it ends a run, the run.
func (r *Recorder) count(source trigger.Source, took time.Duration, state run.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.countsOf(source)
	c.numbers[metric.Attempts]++
	if state.Ended() {
		c.numbers[metric.Runs]++
	}
	if state == run.Failed {
		c.numbers[metric.RunsFailed]++
	}
	if len(c.durations) < metric.MaxValues {
		c.durations = append(c.durations, took)
	} else if i := rand.N(c.numbers[metric.Attempts]); i < metric.MaxValues {
		c.durations[i] = took
	}
}

// countGivenUp counts a run that ends without a further call.
func (r *Recorder) countGivenUp(source trigger.Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.countsOf(source)
	c.numbers[metric.Runs]++
	c.numbers[metric.RunsFailed]++
}

// countsOf returns the counts of a source. The caller holds r.mu.
func (r *Recorder) countsOf(source trigger.Source) *counts {
	if r.counted[source] == nil {
		r.counted[source] = &counts{numbers: map[string]int{metric.Runs: 0, metric.RunsFailed: 0, metric.Attempts: 0, metric.RunsNotRecorded: 0}}
	}
	return r.counted[source]
}
