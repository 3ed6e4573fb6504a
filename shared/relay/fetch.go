package relay

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/platform/backoff"
	"containertriggers/shared/relay/natsconn"
)

// maxFailedFetches is the number of failed fetches in a row that the source reports. A
// server that restarts fails one or two.
const maxFailedFetches = 3

const (
	// minFetch is the memory that a fetch takes while no messages come. So many idle
	// triggers need little.
	minFetch = 64 << 10
	// maxFetch limits the memory of one fetch.
	maxFetch = 16 << 20
	// largestMessage is the largest size that JetStream gives to a message that natsconn
	// lets pass. It has room for a subject and a reply subject.
	largestMessage = natsconn.MaxMessage + 64<<10
)

// window is the memory that the next fetch takes.
type window struct{ least, most int64 }

// next returns the window after a fetch that took an amount, and which brought messages of
// these sizes. Early is true if the fetch ended long before its time.
func (w window) next(took, sum, largest int64, early bool) window {
	switch {
	case sum == 0 && early:
		// JetStream does not hand out a message that is larger than the fetch (409 Message
		// Size Exceeds MaxBytes).
		w.least = min(4*took, largestMessage)
	case sum == 0:
		w = window{}
	default:
		w.least = largest
		if sum > took/2 {
			w.most = 2 * took
		}
	}
	w.least = max(w.least, minFetch)
	w.most = min(max(w.most, w.least), max(maxFetch, w.least))
	return w
}

// fetchLoop fetches messages until d.ctx ends. It fetches no more messages than it has
// free slots, because JetStream redelivers messages that wait too long in memory. It takes
// the memory for the messages before it fetches them.
func (s *natsSource) fetchLoop(d *durable) {
	failed, w := 0, window{minFetch, minFetch}
	for d.ctx.Err() == nil {
		free := s.takeSlots(d)
		if free == 0 {
			return
		}
		took, err := s.memory.take(d.ctx, w.least, w.most)
		if err != nil {
			s.releaseSlots(free)
			return
		}
		limits := []jetstream.FetchOpt{jetstream.FetchMaxWait(s.timing.FetchTime), jetstream.FetchMaxBytes(int(took))}
		most := free
		if w.least == largestMessage {
			// One message always fits, because natsconn ends the connection for a larger one.
			limits, most = limits[:1], 1
		}
		began, sum, largest := time.Now(), int64(0), int64(0)
		batch, err := d.Fetch(most, limits...)
		if err == nil {
			// Deliver the whole batch, even if close stops the source meanwhile.
			for m := range batch.Messages() {
				free--
				size := sizeOf(m)
				sum, largest = sum+size, max(largest, size)
				s.dispatch(func() {
					defer s.releaseSlots(1)
					defer s.memory.give(size)
					s.deliverStream(d, m)
				})
			}
			err = batch.Error()
		}
		s.memory.give(took - sum)
		s.releaseSlots(free)
		w = w.next(took, sum, largest, err == nil && time.Since(began) < s.timing.FetchTime/2)
		if err == nil {
			failed = 0
			d.failure.Store(nil)
			continue
		}
		if failed++; failed >= maxFailedFetches {
			err = unsupported(fmt.Sprintf("JetStream hands out no messages of the stream %s: %v", d.found.Config.Name, err))
			d.failure.Store(&err)
		}
		s.wake() // the consumer may be deleted
		select {
		case <-time.After(s.timing.ReconnectWait):
		case <-d.ctx.Done():
		}
	}
}

// sizeOf returns the memory of a message, as JetStream counts it.
func sizeOf(m jetstream.Msg) int64 {
	size := len(m.Subject()) + len(m.Reply()) + len(m.Data())
	for name, values := range m.Headers() {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	return int64(size)
}

// releaseSlots frees slots.
func (s *natsSource) releaseSlots(n int) {
	for range n {
		<-s.slots
	}
}

// takeSlots waits for a free slot. It takes all free slots, up to the number of messages
// that the server hands out at once, and returns their number. It returns 0 if d.ctx
// has ended.
func (s *natsSource) takeSlots(d *durable) int {
	select {
	case s.slots <- struct{}{}:
	case <-d.ctx.Done():
		return 0
	}
	most := cap(s.slots)
	if limit := d.config.MaxRequestBatch; limit > 0 {
		most = min(most, limit)
	}
	for free := 1; free < most; free++ {
		select {
		case s.slots <- struct{}{}:
		default:
			return free
		}
	}
	return most
}

// deliverStream delivers a message of a stream and acknowledges it. If the call fails,
// JetStream redelivers the message after a delay.
func (s *natsSource) deliverStream(d *durable, m jetstream.Msg) {
	info, err := m.Metadata()
	if err != nil {
		s.log.WarnContext(s.ctx, "a message of a stream has no metadata", "error", err)
		return
	}
	p, seq := d.progress, info.Sequence.Stream
	if d.looksChanged(m) || !p.begin(seq, m) {
		// JetStream finds a consumer by its name. After the stream was replaced, another
		// message may have this sequence.
		if _, err := s.inspect(s.ctx, d); err != nil {
			_ = m.NakWithDelay(s.timing.ReconnectWait)
			s.wake()
			return
		}
		if !p.begin(seq, m) {
			p.repeat(seq, m)
			return
		}
	}
	event := natsEvent(m.Subject(), m.Headers(), m.Data(), info.Timestamp)
	if event.ID == "" {
		event.ID = p.id(seq)
	}
	over := make(chan struct{})
	keep := time.AfterFunc(s.timing.AckWait/3, func() { s.extendAckWait(p, seq, over) })
	err = s.call(s.ctx, event, info.NumDelivered > 1)
	keep.Stop()
	close(over)
	m = p.end(seq, err == nil)
	if err == nil {
		err = m.Ack()
	} else {
		err = m.NakWithDelay(backoff.Delay(int(info.NumDelivered), invoke.RetryAfter(err)))
	}
	if err != nil {
		// JetStream redelivers the message after AckWait.
		s.log.WarnContext(s.ctx, "acknowledging a message failed", "error", err)
	}
}

// looksChanged reports whether a message shows that the consumer was changed at the
// server since the last check: it has a subject outside of the filter, or no payload
// although its headers give a size. The publisher may have set such a header, too.
func (d *durable) looksChanged(m jetstream.Msg) bool {
	return !covers(d.found.filter, m.Subject()) || len(m.Data()) == 0 && m.Headers().Get(nats.MsgSize) != ""
}

// extendAckWait extends the AckWait of a message at intervals until over is closed.
func (s *natsSource) extendAckWait(p *progress, seq uint64, over <-chan struct{}) {
	ticker := time.NewTicker(s.timing.AckWait / 3)
	defer ticker.Stop()
	for {
		p.inProgress(seq)
		select {
		case <-over:
			return
		case <-ticker.C:
		}
	}
}
