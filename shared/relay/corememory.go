package relay

import (
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// coreMemory accounts for the memory of messages of core NATS. The server does not wait for
// a slow subscriber, so a message without memory for it is dropped before the client
// allocates it.
type coreMemory struct {
	share *share
	// sub is the last subscription, nil before the first one. Its messages wait in the
	// client.
	sub atomic.Pointer[nats.Subscription]
	// subscribed is true while the server sends messages for sub.
	subscribed atomic.Bool
	// refused is the number of dropped messages that the source has not counted yet.
	refused atomic.Int64

	mu sync.Mutex
	// inFlight is the size of messages that the client has handed out.
	inFlight int64
	// taken is what the share has for all of them.
	taken int64
}

// begin accounts for the messages of a subscription.
func (c *coreMemory) begin(sub *nats.Subscription) {
	c.sub.Store(sub)
	c.subscribed.Store(true)
}

// end records that the server sends no more messages for the subscription.
func (c *coreMemory) end() { c.subscribed.Store(false) }

// admit reports whether there is memory for messages that are on the connection, so that
// the client may allocate them. They may also be answers to requests, which are small, or
// which the source requests again.
func (c *coreMemory) admit(unprocessed int) bool {
	if !c.subscribed.Load() || c.update(0, int64(unprocessed)) {
		return true
	}
	c.refused.Add(1)
	return false
}

// delivering records that the client has handed out a message.
func (c *coreMemory) delivering(m *nats.Msg) { c.update(payloadSize(m), 0) }

// delivered records that the delivery of a message has ended.
func (c *coreMemory) delivered(m *nats.Msg) { c.update(-payloadSize(m), 0) }

// update changes inFlight, and then takes or returns memory. It reports whether there is
// memory for messages of the size of arriving, too.
func (c *coreMemory) update(inFlight, arriving int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight += inFlight
	_, waiting, err := c.sub.Load().Pending()
	if err != nil {
		waiting = 0 // the subscription has ended
	}
	needed := int64(waiting) + c.inFlight + arriving
	if more := needed - c.taken; more > 0 && c.share.try(more, more) == 0 {
		return false
	} else if more < 0 {
		c.share.give(-more)
	}
	c.taken = needed
	return true
}

// payloadSize returns the size of a message as the client counts pending bytes: the
// payload and the headers.
func payloadSize(m *nats.Msg) int64 { return int64(m.Size() - len(m.Subject) - len(m.Reply)) }
