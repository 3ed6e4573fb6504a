// Package cost computes what the service costs from what it does: counted calls, DynamoDB's units
// and runs of functions, by AWS's list prices.
package cost

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Work is something that the service does, and what that takes.
type Work struct {
	Name string
	// Units is how often the service did it: the numbers of Runs are for all of them.
	Units int
	// Occurrences are invocations by EventBridge Scheduler, Requests those of API Gateway, and
	// Polls the requests of Lambda's pollers to the queue, which is a FIFO queue if FIFO is set.
	Occurrences, Requests, Polls int
	FIFO                         bool
	Runs                         []Run
	// Raw is what the services cost that do the least for one unit, and RawName says which.
	Raw     float64
	RawName string
}

// Run is what the invocations of a function took.
type Run struct {
	Function    string
	Invocations int
	MemoryMB    int
	// Waits is how long each invocation waited for a container.
	Waits time.Duration
	// Calls has the number of calls of AWS by the service and the operation.
	Calls         map[string]int
	Reads, Writes float64
	// Lines are the lines of its log.
	Lines int
}

// RoundTrips returns the number of calls of AWS.
func (r Run) RoundTrips() (sum int) {
	for _, count := range r.Calls {
		sum += count
	}
	return sum
}

// Minus returns what the invocations took since earlier ones.
func (r Run) Minus(earlier Run) Run {
	r.Calls = maps.Clone(r.Calls)
	for name, count := range earlier.Calls {
		if r.Calls[name] -= count; r.Calls[name] == 0 {
			delete(r.Calls, name)
		}
	}
	r.Invocations -= earlier.Invocations
	r.Reads, r.Writes, r.Lines = r.Reads-earlier.Reads, r.Writes-earlier.Writes, r.Lines-earlier.Lines
	return r
}

// Bill is what a unit of work costs in dollars, by its parts.
type Bill struct {
	// Source is EventBridge Scheduler, API Gateway, or the queue.
	Source float64
	// Requests and Time are Lambda's.
	Requests, Time float64
	Writes, Reads  float64
	KMS, Events    float64
	Logs           float64
}

// Total returns the sum of all parts.
func (b Bill) Total() float64 {
	return b.Source + b.Requests + b.Time + b.Writes + b.Reads + b.KMS + b.Events + b.Logs
}

// Bill returns what a unit of the work costs.
func (w Work) Bill() (b Bill) {
	poll := queueRequest
	if w.FIFO {
		poll = fifoQueueRequest
	}
	b.Source = float64(w.Occurrences)*schedulerFire + float64(w.Requests)*apiRequest + float64(w.Polls)*poll
	for _, r := range w.Runs {
		b.Requests += float64(r.Invocations) * lambdaRequest
		works := ownCPU * wholeCPU / time.Duration(r.MemoryMB)
		lasts := time.Duration(r.Invocations)*(r.Waits+works) + time.Duration(r.RoundTrips())*callTime
		b.Time += lasts.Seconds() * float64(r.MemoryMB) / 1024 * lambdaGBSecond
		b.Writes += r.Writes * writeUnit
		b.Reads += r.Reads * readUnit
		for operation, count := range r.Calls {
			service, _, _ := strings.Cut(operation, ".")
			switch service {
			case "kms":
				b.KMS += float64(count) * kmsRequest
			case "events":
				b.Events += float64(count) * event
			case "sqs":
				b.Source += float64(count) * poll
			}
		}
		b.Logs += float64(r.Lines*lineBytes) / 1e9 * logGB
	}
	units := float64(max(w.Units, 1))
	for _, part := range []*float64{&b.Source, &b.Requests, &b.Time, &b.Writes, &b.Reads, &b.KMS, &b.Events, &b.Logs} {
		*part /= units
	}
	return b
}

// RawCron returns what an occurrence costs by EventBridge Scheduler, an event and an API
// destination, which wait five seconds for a container and keep nothing.
func RawCron() float64 { return schedulerFire + event + apiDestination }

// RawQueue returns what a message costs by Lambda with a function of 128 MB that only calls the
// container, for batches of that size.
func RawQueue(batch int, waits time.Duration, fifo bool) float64 {
	w := Work{Units: batch, Polls: 2, FIFO: fifo, Runs: []Run{{Invocations: 1, MemoryMB: 128, Waits: waits}}}
	return w.Bill().Total()
}

// RelayMonth returns what a shard of the relay costs in a month, which runs as long as it has a
// trigger: its memory, and a write of its lease every two seconds.
func RelayMonth(memoryMB int) float64 {
	return month.Seconds()*float64(memoryMB)/1024*lambdaGBSecond + month.Seconds()/2*writeUnit
}

// Idle is what the service does in a month without calls.
type Idle struct {
	Name string
	// EachMinute is the work of a minute.
	EachMinute []Run
	// Metrics is the number of metrics that have values, Mappings that of the event source
	// mappings that poll queues, with so many pollers each.
	Metrics, Mappings, Pollers int
}

// IdleBill is what the service costs in a month without calls.
type IdleBill struct{ Key, Metrics, Polling, Runs, DynamoDB, Logs float64 }

// Total returns the sum of all parts.
func (b IdleBill) Total() float64 {
	return b.Key + b.Metrics + b.Polling + b.Runs + b.DynamoDB + b.Logs
}

// AlarmsMonth returns what alarms cost in a month that read so many metrics.
func AlarmsMonth(metrics int) float64 { return float64(metrics) * alarmMetricMonth }

// pollTime is how long a poller of an empty queue waits for a message (Lambda Developer Guide,
// "Using Lambda with Amazon SQS").
const pollTime = 20 * time.Second

// Bill returns what it costs.
func (i Idle) Bill() IdleBill {
	minute := Work{Runs: i.EachMinute}.Bill()
	minutes := month.Minutes()
	return IdleBill{
		Key:      kmsKeyMonth,
		Metrics:  float64(i.Metrics) * metricMonth,
		Polling:  float64(i.Mappings*i.Pollers) * month.Seconds() / pollTime.Seconds() * queueRequest,
		Runs:     (minute.Requests + minute.Time) * minutes,
		DynamoDB: (minute.Reads + minute.Writes) * minutes,
		Logs:     minute.Logs * minutes,
	}
}

// sorted returns the names of a run's calls with their numbers.
func (r Run) sorted() (list []string) {
	for name := range r.Calls {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
