package relay

import (
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// progress records which messages of one incarnation of a stream this run has
// delivered. A consumer that was created again hands out messages a second time, and
// progress keeps the source from calling the container again for them.
type progress struct {
	stream  string
	created time.Time // the time at which the stream was created

	mu sync.Mutex
	// calls holds the last delivery of each message with a call in flight.
	calls map[uint64]jetstream.Msg
	// floor is that of the consumer: all messages up to it are acknowledged. A consumer
	// that somebody replaces may hand them out again.
	floor uint64
	// acked holds the acknowledged messages above the floor. A message that always fails
	// may hold the floor back, so acked holds at most maxAckPending messages.
	acked map[uint64]bool
	// received is the last message that the source has received by core NATS, before it
	// switched to the stream.
	received uint64
}

func newProgress(found *foundStream) *progress {
	return &progress{stream: found.Config.Name, created: found.Created, calls: map[uint64]jetstream.Msg{}, acked: map[uint64]bool{}}
}

// progressOf returns the progress in a stream. It returns a new one for a new
// incarnation of the stream, and for a stream that is restored from a backup: it gives
// the sequences that it has lost to other messages.
func (s *natsSource) progressOf(found *foundStream) *progress {
	if s.last == nil || s.last.stream != found.Config.Name || !s.last.created.Equal(found.Created) || found.State.LastSeq < s.last.floor {
		s.last = newProgress(found)
	}
	return s.last
}

// id returns the event ID of a message. It contains the time at which the stream was
// created, because a stream that is deleted and created again gives the same sequences
// to other messages.
func (p *progress) id(seq uint64) string {
	return fmt.Sprintf("%s/%d/%d", p.stream, p.created.UnixNano(), seq)
}

// begin reports whether the source must call the container for a message. It returns
// false if a call for its sequence succeeded or is in flight. The source then calls
// repeat, but only if the message is certain to be of this incarnation of the stream.
func (p *progress) begin(seq uint64, m jetstream.Msg) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, inFlight := p.calls[seq]; inFlight || p.delivered(seq) {
		return false
	}
	p.calls[seq] = m
	return true
}

// repeat acknowledges a message for which begin returned false. If a call is in flight,
// its outcome applies to this delivery of the message.
func (p *progress) repeat(seq uint64, m jetstream.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, inFlight := p.calls[seq]
	switch {
	case inFlight:
		p.calls[seq] = m
	case p.delivered(seq):
		_ = m.Ack() // if it fails, JetStream redelivers the message
	default:
		_ = m.Nak() // the call has failed meanwhile
	}
}

// delivered reports whether a call for a message succeeded. The caller holds p.mu.
func (p *progress) delivered(seq uint64) bool {
	return seq <= max(p.floor, p.received) || p.acked[seq]
}

// end records the outcome of a call. It returns the last delivery of the message, which
// is the one to acknowledge.
func (p *progress) end(seq uint64, acked bool) jetstream.Msg {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.calls[seq]
	delete(p.calls, seq)
	if acked && len(p.acked) < maxAckPending {
		p.acked[seq] = true
	}
	return m
}

// inProgress extends the AckWait of a message if its call is in flight.
func (p *progress) inProgress(seq uint64) {
	p.mu.Lock()
	m := p.calls[seq]
	p.mu.Unlock()
	if m != nil {
		_ = m.InProgress() // if it fails, the next one may succeed
	}
}

// setFloor raises the floor, and forgets acknowledged messages up to it.
func (p *progress) setFloor(floor uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.floor = max(p.floor, floor)
	for seq := range p.acked {
		if seq <= floor {
			delete(p.acked, seq)
		}
	}
}

// setReceived records that core NATS has brought the messages up to a sequence.
func (p *progress) setReceived(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.received = max(p.received, seq)
}
