package relay

import (
	"cmp"
	"context"
	"time"
)

// Timing holds the intervals and timeouts of a relay. A field that is zero takes its
// default.
type Timing struct {
	// FollowInterval is the interval at which a relay reads the list of its triggers
	// and renews its lease. The default is 2 s. A run shorter than 20 intervals uses a
	// twentieth of its length.
	FollowInterval time.Duration
	// LeaseTime is the time after which a lease without renewal ends. The default is
	// 15 s.
	LeaseTime time.Duration
	// HandOver is the time that a hand-over takes beside calls. So much time, and that of
	// the longest call, before its deadline, a run asks for a successor. The watchdog starts
	// one within a minute. The default is 150 s. In a run shorter than three times that, it
	// takes a third.
	HandOver time.Duration
	// StatusInterval is the interval at which error_message is updated. The default is
	// 1 s.
	StatusInterval time.Duration
	// ConnectTimeout limits the time to connect to a server or endpoint. The default is
	// 5 s.
	ConnectTimeout time.Duration
	// ReconnectWait is the pause between two attempts to reach a NATS server. The
	// default is 1 s.
	ReconnectWait time.Duration
	// RequestTimeout limits a request to a NATS server. The default is 5 s.
	RequestTimeout time.Duration
	// CheckInterval is the interval at which a subscription to a stream is checked, and
	// a failed subscription is retried. The default is 5 s.
	CheckInterval time.Duration
	// StreamInterval is the interval at which a NATS subscription looks for a stream
	// that holds its subject. The default is 1 minute.
	StreamInterval time.Duration
	// AckWait is the time after which JetStream redelivers a message without an
	// acknowledgement. While a call is in flight, the relay extends it every third of
	// that time. The default is 15 s.
	AckWait time.Duration
	// FetchTime is the time that JetStream waits for messages to fetch. A hand-over may
	// wait as long. The default is 3 s.
	FetchTime time.Duration
	// LongPoll is the time that SQS waits for messages to receive. The default is 20 s,
	// which is SQS's maximum. SQS
	// counts it in whole seconds.
	LongPoll time.Duration
	// Visibility is the visibility timeout of a received message. A longer delivery
	// extends it. The default is 30 s. SQS counts it in whole seconds.
	Visibility time.Duration
	// ReceivePause is the pause after a failed receive. It doubles with each failure in
	// a row, up to 30 times. The default is 1 s.
	ReceivePause time.Duration
}

// withDefaults returns the timing with a default in each zero field.
func (t Timing) withDefaults() Timing {
	return Timing{
		FollowInterval: cmp.Or(t.FollowInterval, 2*time.Second),
		LeaseTime:      cmp.Or(t.LeaseTime, 15*time.Second),
		HandOver:       cmp.Or(t.HandOver, 150*time.Second),
		StatusInterval: cmp.Or(t.StatusInterval, time.Second),
		ConnectTimeout: cmp.Or(t.ConnectTimeout, 5*time.Second),
		ReconnectWait:  cmp.Or(t.ReconnectWait, time.Second),
		RequestTimeout: cmp.Or(t.RequestTimeout, 5*time.Second),
		CheckInterval:  cmp.Or(t.CheckInterval, 5*time.Second),
		StreamInterval: cmp.Or(t.StreamInterval, time.Minute),
		AckWait:        cmp.Or(t.AckWait, 15*time.Second),
		FetchTime:      cmp.Or(t.FetchTime, 3*time.Second),
		LongPoll:       cmp.Or(t.LongPoll, 20*time.Second),
		Visibility:     cmp.Or(t.Visibility, 30*time.Second),
		ReceivePause:   cmp.Or(t.ReceivePause, time.Second),
	}
}

// recordTime is the end of a run that no delivery may use. It is for writing the
// outcome of the last deliveries.
const recordTime = 10 * time.Second

// schedule is when the run of a shard does what.
type schedule struct {
	// every is the interval at which the run follows its triggers.
	every time.Duration
	// ending is when the run asks for a successor.
	ending time.Time
	// draining is when the run drains, even without a successor. All calls that it has
	// begun can then end before last.
	draining time.Time
	// last is when the last deliveries end.
	last time.Time
}

// schedule returns the schedule of a run that began at a time. The longest call takes
// longest: see [container.MaxRelayTimeout]. Without a deadline in ctx, the run may take 15
// minutes.
func (t Timing) schedule(ctx context.Context, began time.Time, longest time.Duration) schedule {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = began.Add(15 * time.Minute)
	}
	length := deadline.Sub(began)
	handOver, calls := min(t.HandOver, length/3), min(longest, 2*length/3)
	return schedule{
		every:    min(t.FollowInterval, length/20),
		ending:   deadline.Add(-handOver - calls),
		draining: deadline.Add(-handOver/3 - calls),
		last:     deadline.Add(-min(recordTime, length/10)),
	}
}
