package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

// sweep runs the functions of each minute, which may be killed as well.
func (m *model) sweep() {
	for _, function := range []string{"sweep", "watch"} {
		_, _ = m.Invoke(m.t.Context(), function, []byte("{}"))
	}
}

// tick lets a minute pass, and waits until each trigger that was ready and due has
// been called or has a failed run.
func (m *model) tick() {
	m.noteGone()
	var due []string
	for id, known := range m.triggers {
		row, there := m.row(id)
		if there && !known.deleted && !known.damaged && row.Cron != nil && row.Cron.Schedule == schedules[0] && row.Status == trigger.Ready && row.Settled() {
			due = append(due, id)
		}
	}
	m.nextMinute()
	minute := m.now().UTC().Truncate(time.Minute)
	m.await("each occurrence is delivered or kept", 20*time.Millisecond, func() {}, func() error {
		for _, id := range due {
			m.mu.Lock()
			arrived := m.fired[id][minute]
			m.mu.Unlock()
			if !arrived && !m.gaveUp(id, minute) {
				return fmt.Errorf("trigger %s was not called for %s", id, minute)
			}
		}
		return nil
	})
}

// noteGone notes which rows are gone by now.
func (m *model) noteGone() {
	for id, known := range m.triggers {
		if !known.deleted || !known.goneAt.IsZero() {
			continue
		}
		if _, there := m.row(id); !there {
			known.goneAt = m.now()
		}
	}
}

// gaveUp reports whether the run of an occurrence has failed for good.
func (m *model) gaveUp(id string, minute time.Time) bool {
	found, err := m.runs.Get(m.t.Context(), run.Key{TriggerID: id, Event: minute.Format(time.RFC3339)})
	if errors.Is(err, store.ErrNotFound) {
		return false
	}
	m.must(err)
	return found.State == run.Failed
}

// sweepEvery is how often there is a sweep while all comes to rest: each has
// reconcile look at what is in error again, for which there must be time.
const sweepEvery = 3 * time.Second

// rest waits, with sweeps, until something is so.
func (m *model) rest(what string, ok func() error) {
	m.sweep()
	swept := time.Now()
	m.await(what, 100*time.Millisecond, func() {
		if time.Since(swept) > sweepEvery {
			m.sweep()
			swept = time.Now()
		}
	}, ok)
}

func (m *model) await(what string, every time.Duration, meanwhile func(), ok func() error) {
	end := time.Now().Add(3 * deadline)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			m.rt.Fatalf("%s: %v\nthe functions said last:\n%s", what, err, m.lastLines(60))
		}
		meanwhile()
		<-ticker.C
	}
}

// lastLines are the last lines of the functions' logs, but for the sweeps'.
func (w *world) lastLines(n int) string {
	lines := slices.DeleteFunc(strings.Split(w.logged(), "\n"), func(line string) bool { return strings.HasPrefix(line, "sweep|") })
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// check is nil where all there is agrees with the model.
func (m *model) check() error {
	m.noteGone()
	for id, known := range m.triggers {
		row, there := m.row(id)
		switch {
		case known.deleted != !there:
			return fmt.Errorf("trigger %s: there is a row: %t, it was deleted: %t", id, there, known.deleted)
		case !there:
			continue
		case row.Description != known.description:
			return fmt.Errorf("trigger %s: the description is %q, want %q", id, row.Description, known.description)
		case row.Cron != nil && !strings.HasPrefix(row.Description, row.Cron.Schedule+" #"):
			return fmt.Errorf("trigger %s: two updates were mixed: %q has the schedule %q", id, row.Description, row.Cron.Schedule)
		case row.Status.Transient() || !row.Settled():
			return fmt.Errorf("trigger %s is %s, settled %t", id, row.Status, row.Settled())
		}
		known.damaged = false
	}
	if err := m.neverAfterItWasGone(); err != nil {
		m.rt.Fatalf("%v", err)
	}
	if err := m.exact.agree(m.rt, m.queues[len(m.queues)-1]); err != nil {
		return err
	}
	return m.lost()
}

func (m *model) neverAfterItWasGone() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, known := range m.triggers {
		for minute := range m.fired[id] {
			if !known.goneAt.IsZero() && minute.After(known.goneAt) {
				return fmt.Errorf("trigger %s was called for %s, and gone at %s", id, minute, known.goneAt)
			}
		}
	}
	return nil
}

// leave deletes the containers, and waits until nothing at all is left.
func (m *model) leave() {
	for _, id := range m.containers {
		m.until(http.MethodDelete, "/containers/"+id, nil)
	}
	for _, known := range m.triggers {
		known.deleted = true
	}
	m.rest("nothing is left", func() error {
		if err := m.check(); err != nil {
			return err
		}
		return m.exact.empty(m.rt)
	})
	m.tick()
	m.must(m.neverAfterItWasGone())
}
