// Package record keeps the runs of messages. A delivery of a message costs no write unless a
// call fails or the trigger's history has all runs.
//
// A call never waits for the table of runs. A [Recorder] writes in the background, and limits
// the rows a second, the bytes that wait and the time that it takes. It counts what it could
// not write.
package record

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/backoff"
	"containertriggers/shared/platform/metric"
)

const (
	// lanes is the number of writes at the same time. One lane writes the outcomes of one
	// message, so that they keep their order.
	lanes = 8
	// maxWaiting and maxBytes limit the outcomes that wait to be written.
	maxWaiting = 1000
	maxBytes   = 8 << 20
	// writeTime limits one write, which is tried maxTries times.
	writeTime = 2 * time.Second
	maxTries  = 3
	// giveUpTime limits the wait for the run of a message that its source gave up.
	giveUpTime = 5 * time.Second
)

// Writer stores the outcomes of calls. See [store.Runs.Delivered].
type Writer interface {
	Delivered(ctx context.Context, to run.Run, report store.Report, existing bool) error
}

// Recorder records the calls for messages. The nil Recorder records nothing. It is safe for
// concurrent use.
type Recorder struct {
	runs  Writer
	stack string
	now   func() time.Time
	lanes [lanes]lane

	mu      sync.Mutex
	waiting int
	bytes   int
	limits  map[string]*limit // by trigger ID
	counted map[trigger.Source]*counts
}

// Settings are the settings of a function that records the runs of messages.
type Settings struct {
	RunsTable        string `env:"RUNS_TABLE,required,notEmpty"`
	RunRetentionDays int    `env:"RUN_RETENTION_DAYS,required"`
	Stack            string `env:"STACK,required,notEmpty"`
}

// FromSettings returns the recorder of a function.
func FromSettings(s Settings, db *dynamodb.Client) *Recorder {
	return New(store.Runs{Client: db, Table: s.RunsTable, Retention: store.Days(s.RunRetentionDays)}, s.Stack, time.Now)
}

// LeftOut is what error_message says beside the last failure if [Recorder.LeavesOut].
const LeftOut = "; not every run is recorded, because there are too many"

// New returns a recorder for a deployment.
func New(runs Writer, stack string, now func() time.Time) *Recorder {
	return &Recorder{runs: runs, stack: stack, now: now, limits: map[string]*limit{}, counted: map[trigger.Source]*counts{}}
}

// Call is a call for a message that has ended.
type Call struct {
	Trigger trigger.Trigger
	Event   invoke.Event
	Attempt run.Attempt
	// Repeated is true if the message was delivered before.
	Repeated bool
	// Last is true if no other call follows after a failure.
	Last bool
}

// state returns the state in which the call leaves the run.
func (c Call) state() run.State {
	switch {
	case c.Attempt.Error == "":
		return run.Succeeded
	case c.Last:
		return run.Failed
	}
	return run.Retrying
}

// entry is an outcome that waits to be written.
type entry struct {
	run      run.Run
	report   store.Report
	existing bool
	size     int
	source   trigger.Source
	// done gets the error of the write if it is not nil. Its buffer has room.
	done chan error
}

// lane writes outcomes one after another.
type lane struct {
	mu      sync.Mutex
	waiting []*entry
	running bool
}

// Add records a call. It never waits.
func (r *Recorder) Add(ctx context.Context, call Call) {
	if r == nil {
		return
	}
	state, history, source := call.state(), call.Trigger.History(), call.Trigger.Source()
	r.count(source, call.Attempt.Duration, state)
	existing := state == run.Succeeded && history != trigger.HistoryAll
	if history == trigger.HistoryNone || existing && !call.Repeated {
		return
	}
	most := run.MaxBodyOfRetry
	if state == run.Failed {
		most = run.MaxBody
	}
	request := requestOf(call.Trigger, call.Event, most)
	its := RunOf(call.Trigger, call.Event)
	its.StartedAt = call.Attempt.StartedAt
	known := r.LeavesOut(call.Trigger.ID)
	err := r.put(&entry{
		run: its, existing: existing, source: source,
		report: store.Report{State: state, Attempts: []run.Attempt{call.Attempt}, Request: &request, At: call.Attempt.StartedAt.Add(call.Attempt.Duration)},
	})
	if err != nil && !known { // one line for many, which the metric counts
		slog.WarnContext(ctx, "runs are not recorded", "trigger_id", call.Trigger.ID, "event_id", call.Event.ID, "reason", err)
	}
}

// GiveUp records that the source of a message gives it up after a failed call, and keeps the
// event. It returns an error if the run does not have the whole event, which would then be
// lost. The error is ErrLeftOut if the reason lies with the trigger.
func (r *Recorder) GiveUp(ctx context.Context, t trigger.Trigger, event invoke.Event, failure error) error {
	if r == nil {
		return errors.New("no runs are recorded")
	}
	r.countGivenUp(t.Source())
	if t.History() == trigger.HistoryNone {
		return errNone
	}
	request := requestOf(t, event, run.MaxBody)
	its := RunOf(t, event)
	its.StartedAt = r.now()
	e := &entry{
		run: its, source: t.Source(), done: make(chan error, 1),
		report: store.Report{State: run.Failed, Reason: invoke.ReasonOf(failure), Message: failure.Error(), Request: &request, At: r.now()},
	}
	if err := r.put(e); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTime)
	defer cancel()
	select {
	case err := <-e.done:
		if err == nil && request.Truncated {
			err = errNotWhole
		}
		return err
	case <-ctx.Done():
		return errSlow
	}
}

// Flush waits until all outcomes are written. If ctx ends before, Flush gives up the rest.
func (r *Recorder) Flush(ctx context.Context) {
	if r == nil {
		return
	}
	var ends []chan error
	for i := range r.lanes {
		if end := r.lanes[i].flushed(); end != nil {
			ends = append(ends, end)
		}
	}
	for _, end := range ends {
		select {
		case <-end: //nolint:errcheck // a marker has no write that could fail
		case <-ctx.Done():
			r.drop(ctx)
			return
		}
	}
}

// flushed returns a channel that gets nil once the outcomes that wait now are written, or nil
// if there are none.
func (l *lane) flushed() chan error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running {
		return nil
	}
	end := make(chan error, 1)
	l.waiting = append(l.waiting, &entry{done: end})
	return end
}

// drop gives up all outcomes that wait.
func (r *Recorder) drop(ctx context.Context) {
	dropped := 0
	for i := range r.lanes {
		l := &r.lanes[i]
		l.mu.Lock()
		given := l.waiting
		l.waiting = nil
		l.mu.Unlock()
		for _, e := range given {
			if e.run.TriggerID != "" {
				dropped++
			}
			r.finish(e, errSlow)
		}
	}
	slog.WarnContext(ctx, "runs are not recorded", "reason", errSlow, "runs", dropped)
}

// put makes an outcome wait in its lane. It returns an error if a limit is reached.
func (r *Recorder) put(e *entry) error {
	e.size = sizeOf(e.report)
	if err := r.admit(e); err != nil {
		return err
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(e.run.TriggerID + e.run.Event)) // never fails
	l := &r.lanes[hash.Sum32()%lanes]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, e)
	if !l.running {
		l.running = true
		go r.write(l)
	}
	return nil
}

// write writes the outcomes of a lane until none waits.
func (r *Recorder) write(l *lane) {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.running = false
			l.mu.Unlock()
			return
		}
		e := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
		var err error
		if e.run.TriggerID != "" {
			if err = r.store(e); err != nil {
				slog.Warn("a run is not recorded", "trigger_id", e.run.TriggerID, "event_id", e.run.EventID, "reason", err)
			}
		}
		r.finish(e, err)
	}
}

// store writes an outcome, with retries.
func (r *Recorder) store(e *entry) (err error) {
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), writeTime)
		err = r.runs.Delivered(ctx, e.run, e.report, e.existing)
		cancel()
		if err == nil || try == maxTries {
			return err
		}
		_ = backoff.Sleep(context.Background(), backoff.Delay(try, 0)) // the context never ends
	}
}

// finish accounts for an outcome that no longer waits.
func (r *Recorder) finish(e *entry, err error) {
	if e.run.TriggerID != "" {
		r.release(e, err)
	}
	if e.done != nil {
		e.done <- err
	}
}

// Take returns the metrics of a source since the last Take.
func (r *Recorder) Take(source trigger.Source) metric.Set {
	if r == nil {
		return metric.Set{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.countsOf(source)
	delete(r.counted, source)
	return metric.Set{Stack: r.stack, Source: string(source), Counts: c.numbers, Durations: map[string][]time.Duration{metric.AttemptDuration: c.durations}}
}
