package relay

import (
	"fmt"

	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

// A process of a Lambda function may have 1,024 files open (AWS Lambda Developer Guide,
// "Lambda quotas"). maxConnections is how many of them calls and sources may use. The rest
// is for idle connections to containers, for connections to AWS, and for connections that
// are being opened or closed.
const maxConnections = 640

const (
	// natsConnections and sqsConnections are the connections that a source keeps. One of
	// a queue's receives messages, the other one deletes and hides them.
	natsConnections = 1
	sqsConnections  = 2
	// A trigger can always make between minOwnCalls and maxOwnCalls calls, whatever the
	// other triggers do. The number depends on how many triggers there are.
	minOwnCalls = 1
	maxOwnCalls = 16
	// defaultMemory is the memory for messages if the relay has no other setting.
	defaultMemory = 256 << 20
)

// full is the error_message of a trigger that its shard has no room for.
const full = "the relay has no room for this trigger, because its shard has as many as one run can hold: delete triggers, or ask the operator to raise RelayShards"

// sourceConnections returns the connections that a trigger's source keeps.
func sourceConnections(t trigger.Trigger) int64 {
	if t.SQS != nil {
		return sqsConnections
	}
	return natsConnections
}

// fits reports whether the run has connections for one more trigger.
func (r *shardRun) fits(t trigger.Trigger) bool {
	needed := sourceConnections(t) + minOwnCalls
	for _, s := range r.subscriptions {
		if s.works() {
			needed += sourceConnections(s.opened) + minOwnCalls
		}
	}
	return needed <= r.connections.size
}

// mayAccept reports whether the run refused a trigger and should look at it again.
func (r *shardRun) mayAccept(s *subscription) bool {
	return !s.works() && r.fits(s.opened) && r.relay.Resolver.Now().Sub(s.looked) > r.timing.CheckInterval
}

// refusal returns the reason why the run cannot subscribe for a trigger, or "".
func (r *shardRun) refusal(found *resolve.Target, current *subscription) string {
	switch {
	case found.Container.Timeout > container.MaxRelayTimeout:
		return fmt.Sprintf("the container's timeout is %s, but calls for this source take at most %s: lower the container's timeout", found.Container.Timeout, container.MaxRelayTimeout)
	case !current.works() && !r.fits(found.Trigger):
		return full
	}
	return ""
}

// divide gives each trigger the same part of its own: of half of the connections, and of a
// quarter of the memory.
func (r *shardRun) divide() {
	triggers := int64(0)
	for _, s := range r.subscriptions {
		if s.works() {
			triggers++
		}
	}
	if triggers == 0 {
		return
	}
	calls := min(max(r.connections.size/2/triggers, minOwnCalls), maxOwnCalls)
	for _, s := range r.subscriptions {
		if s.works() {
			s.connections.setOwn(calls)
			s.memory.setOwn(r.memory.size / 4 / triggers)
		}
	}
}
