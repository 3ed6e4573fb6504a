package record

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/metric"
)

// table is a table of runs that takes a while for each write, and may refuse.
type table struct {
	takes time.Duration
	err   error

	mu      sync.Mutex
	written []string
	reports []store.Report
	runs    []run.Run
}

func (w *table) Delivered(ctx context.Context, to run.Run, report store.Report, existing bool) error {
	select {
	case <-time.After(w.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.written = append(w.written, fmt.Sprint(to.EventID, " ", report.State, " ", existing))
	w.reports, w.runs = append(w.reports, report), append(w.runs, to)
	return nil
}

// of returns a trigger of a queue with a history.
func of(history trigger.History) trigger.Trigger {
	return trigger.Trigger{ID: uuid.NewString(), SQS: &trigger.SQS{}, Delivery: trigger.Delivery{History: history}}
}

// call is a call for the message of an ID, which fails unless its status is 200.
func call(t trigger.Trigger, id string, status int) Call {
	made := run.Attempt{StartedAt: time.Now(), Duration: time.Second, HTTPStatus: status}
	if status != http.StatusOK {
		made.Error, made.Reason = "refused", run.HTTPStatus
	}
	return Call{Trigger: t, Event: invoke.Event{ID: id, Time: time.Now(), Body: []byte("b")}, Attempt: made}
}

func TestAdd_WritesWhatTheHistoryHas(t *testing.T) {
	t.Parallel()
	first, again, last := Call{}, Call{Repeated: true}, Call{Last: true}
	for history, want := range map[trigger.History]string{
		"":                      "a retrying false, b failed false, d succeeded true",
		trigger.HistoryFailures: "a retrying false, b failed false, d succeeded true",
		trigger.HistoryAll:      "a retrying false, b failed false, c succeeded false, d succeeded false",
		trigger.HistoryNone:     "",
	} {
		w := &table{}
		r, to := New(w, "s", time.Now), of(history)
		for id, with := range map[string]Call{"a": first, "b": last, "c": first, "d": again} {
			status := http.StatusOK
			if id < "c" {
				status = http.StatusServiceUnavailable
			}
			made := call(to, id, status)
			made.Repeated, made.Last = with.Repeated, with.Last
			r.Add(t.Context(), made)
		}
		r.Flush(t.Context())
		slices.Sort(w.written)
		if got := strings.Join(w.written, ", "); got != want {
			t.Errorf("%q: wrote %q, want %q", history, got, want)
		}
		taken := r.Take(trigger.SourceSQS)
		if want := map[string]int{metric.Runs: 3, metric.RunsFailed: 1, metric.Attempts: 4, metric.RunsNotRecorded: 0}; !maps.Equal(taken.Counts, want) || len(taken.Durations[metric.AttemptDuration]) != 4 {
			t.Errorf("%q: counted %v", history, taken)
		}
		if again := r.Take(trigger.SourceSQS); again.Counts[metric.Runs] != 0 {
			t.Errorf("%q: counted %v twice", history, again)
		}
	}
}

func TestAdd_KeepsTheOrderOfOneMessage(t *testing.T) {
	t.Parallel()
	w := &table{takes: time.Millisecond}
	r, to := New(w, "s", time.Now), of(trigger.HistoryAll)
	for n := range 5 {
		status := http.StatusServiceUnavailable
		if n == 4 {
			status = http.StatusOK
		}
		for _, id := range []string{"a", "b"} {
			r.Add(t.Context(), call(to, id, status))
		}
	}
	r.Flush(t.Context())
	states := map[string]string{}
	for _, line := range w.written {
		fields := strings.Fields(line)
		states[fields[0]] += fields[1] + " "
	}
	for _, id := range []string{"a", "b"} {
		if want := strings.Repeat("retrying ", 4) + "succeeded "; states[id] != want {
			t.Errorf("%s: got %q, want %q", id, states[id], want)
		}
	}
}

func TestAdd_LimitsTheRowsOfATrigger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &table{}
		r, busy, other := New(w, "s", time.Now), of(""), of("")
		for n := range 3 * rowsPerSecond {
			r.Add(t.Context(), call(busy, fmt.Sprint(n), 503))
		}
		r.Add(t.Context(), call(other, "o", 503))
		end := call(busy, "0", 200)
		end.Repeated = true
		r.Add(t.Context(), end)
		r.Flush(t.Context())
		if len(w.written) != rowsPerSecond+2 || !r.LeavesOut(busy.ID) || r.LeavesOut(other.ID) {
			t.Errorf("wrote %d, left out: %v and %v", len(w.written), r.LeavesOut(busy.ID), r.LeavesOut(other.ID))
		}
		if got := r.Take(trigger.SourceSQS).Counts[metric.RunsNotRecorded]; got != 2*rowsPerSecond {
			t.Errorf("counted %d as not recorded", got)
		}
		time.Sleep(leftOutTime) //nolint:forbidigo // the bubble's clock
		r.Add(t.Context(), call(busy, "later", 503))
		r.Flush(t.Context())
		if len(w.written) != rowsPerSecond+3 || r.LeavesOut(busy.ID) {
			t.Errorf("wrote %d, left out: %v", len(w.written), r.LeavesOut(busy.ID))
		}
	})
}

// load returns the number and the size of the outcomes that wait.
func (r *Recorder) load() (runs, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting, r.bytes
}

// A table that does not answer costs the caller of Add nothing, and that of Flush no more than
// its context allows. What waits stays within its limits.
func TestRecorder_NeverWaitsForASlowTable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &table{takes: time.Hour}
		r := New(w, "s", time.Now)
		began := time.Now()
		for range 2 * maxWaiting {
			large := call(of(""), "m", 503)
			large.Event.Body, large.Last = make([]byte, 32<<10), true
			r.Add(t.Context(), large)
		}
		if runs, bytes := r.load(); runs > maxWaiting || bytes > maxBytes || time.Since(began) > 0 {
			t.Errorf("%d wait with %d bytes after %s", runs, bytes, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.Flush(ctx)
		if took := time.Since(began); took != time.Second {
			t.Errorf("Flush took %s", took)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
		if runs, bytes := r.load(); runs != 0 || bytes != 0 || len(w.written) > 0 {
			t.Errorf("%d wait with %d bytes; wrote %d", runs, bytes, len(w.written))
		}
		if got := r.Take(trigger.SourceSQS).Counts[metric.RunsNotRecorded]; got != 2*maxWaiting {
			t.Errorf("counted %d as not recorded", got)
		}
	})
}

func TestAdd_TriesAgainIfTheTableRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &table{err: errors.New("throttled")}
		r := New(w, "s", time.Now)
		r.Add(t.Context(), call(of(""), "m", 503))
		synctest.Wait()
		w.mu.Lock()
		w.err = nil
		w.mu.Unlock()
		r.Flush(t.Context())
		if len(w.written) != 1 {
			t.Errorf("wrote %v", w.written)
		}
	})
}

func TestGiveUp_KeepsTheEventOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		failure := &invoke.Failure{Message: "refused", Reason: run.Connection}
		event := func(size int) invoke.Event {
			return invoke.Event{ID: "m", Time: time.Now(), Subject: "orders.eu", Header: http.Header{"A": {"1", "2"}}, Body: make([]byte, size)}
		}
		for what, test := range map[string]struct {
			table   *table
			history trigger.History
			size    int
			kept    bool
		}{
			"kept":        {kept: true, size: run.MaxBody},
			"too large":   {size: run.MaxBody + 1},
			"no history":  {history: trigger.HistoryNone},
			"no table":    {table: &table{err: errors.New("no table")}},
			"a slow one":  {table: &table{takes: time.Hour}},
			"all history": {history: trigger.HistoryAll, kept: true},
		} {
			works := test.table == nil
			if works {
				test.table = &table{}
			}
			r, to := New(test.table, "s", time.Now), of(test.history)
			to.SQS, to.NATS = nil, &trigger.NATS{}
			err := r.GiveUp(t.Context(), to, event(test.size), failure)
			if (err == nil) != test.kept || err != nil && errors.Is(err, ErrLeftOut) != works {
				t.Errorf("%s: got %v", what, err)
			}
			r.Flush(t.Context()) // the bubble must not end before the last try
			if counted := r.Take(trigger.SourceNATS).Counts; counted[metric.Runs] != 1 || counted[metric.RunsFailed] != 1 || counted[metric.Attempts] != 0 {
				t.Errorf("%s: counted %v", what, counted)
			}
			if !test.kept {
				continue
			}
			got, its := test.table.reports[0], test.table.runs[0]
			if got.State != run.Failed || got.Last().Error != "refused" || got.Last().Reason != run.Connection || got.Request.Truncated || got.Request.Subject != "orders.eu" || got.Request.Headers["A"] != "1, 2" || len(got.Request.Bytes()) != test.size {
				t.Errorf("%s: wrote %+v", what, got)
			}
			if back := invoke.NewEvent(its, *got.Request, trigger.SourceNATS); back.ID != "m" || back.Subject != "orders.eu" || len(back.Body) != test.size {
				t.Errorf("%s: a replay sends %+v", what, back)
			}
		}
		if err := (*Recorder)(nil).GiveUp(t.Context(), of(""), event(0), failure); err == nil {
			t.Error("no recorder kept the event")
		}
	})
}

func TestRunOf_HasAnIDForEveryEvent(t *testing.T) {
	t.Parallel()
	to := of("")
	seen := map[string]bool{}
	for _, event := range []invoke.Event{
		{ID: "m", Time: time.Date(2026, 11, 25, 8, 0, 0, 5e8, time.UTC)},
		{ID: "m", Time: time.Date(2026, 11, 25, 8, 0, 1, 0, time.UTC)},
		{ID: strings.Repeat("x", maxID+1), Time: time.Unix(0, 0)},
		{ID: strings.Repeat("x", maxID+2), Time: time.Unix(0, 0)},
		{ID: "\xff", Time: time.Unix(0, 0)},
		{ID: "\xfe", Time: time.Unix(0, 0)},
		{ID: "far", Time: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{ID: "before", Time: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		its := RunOf(to, event)
		id := its.ID()
		if back, ok := run.ParseID(id); !ok || back != its.Key || seen[id] {
			t.Errorf("%.20q at %v: %q, %v", event.ID, event.Time, its.Event, ok)
		}
		seen[id] = true
		if again := RunOf(to, event); again.ID() != id {
			t.Errorf("%.20q: got another ID for the same event", event.ID)
		}
	}
}

func TestRequestOf_LeavesOutHeadersThatAreTooLarge(t *testing.T) {
	t.Parallel()
	event := invoke.Event{Header: http.Header{"A": {strings.Repeat("x", maxHeaderBytes)}}, Body: []byte("b")}
	if got := requestOf(of(""), event, run.MaxBody); !got.Truncated || len(got.Headers) > 0 || got.Body != "b" {
		t.Errorf("got %+v", got)
	}
	event.Header = http.Header{"A": {"x"}}
	if got := requestOf(of(""), event, run.MaxBody); got.Truncated || !reflect.DeepEqual(got.Headers, map[string]string{"A": "x"}) {
		t.Errorf("got %+v", got)
	}
}

// The recorder forgets triggers, so that its memory does not grow with their number.
func TestLimits_AreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := New(&table{}, "s", time.Now)
		for range 3 * maxLimits {
			r.Add(t.Context(), call(of(""), "m", 503))
			r.Flush(t.Context())
			time.Sleep(100 * time.Millisecond) //nolint:forbidigo // the bubble's clock
		}
		if len(r.limits) > maxLimits {
			t.Errorf("the recorder remembers %d triggers", len(r.limits))
		}
	})
}
