package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/uuid"

	"containertriggers/infra/local/cloud"
	"containertriggers/infra/local/lambda"
)

// batchSize is the number of messages that Lambda gives to dispatch-queue at once.
const batchSize = 10

// warmUp is the number of invocations that are not measured. They make the connections and
// fill the caches.
const warmUp = 5

// dispatch is a trigger that a dispatcher is measured with.
type dispatch struct {
	function string
	takes    time.Duration // the container, for a call
	history  string
	// pause is the time between two invocations.
	pause time.Duration
}

// By default, a trigger of a queue keeps the runs that failed, and a cron trigger keeps all runs.
var thoroughDispatches = []dispatch{
	{"dispatch-queue", 0, "failures", 0},
	{"dispatch-queue", 20 * time.Millisecond, "failures", 0},
	{"dispatch-queue", 200 * time.Millisecond, "failures", 0},
	{"dispatch-queue", 0, "all", 1100 * time.Millisecond}, // at most ten runs of a trigger are kept a second
	{"dispatch-schedule", 0, "all", 0},
	{"dispatch-schedule", 0, "failures", 0},
	{"dispatch-schedule", 0, "none", 0},
}

var briefDispatches = []dispatch{{function: "dispatch-queue", history: "failures"}, {function: "dispatch-schedule", history: "all"}}

// dispatchTime limits the time for which one dispatch is measured.
const dispatchTime = 10 * time.Second

// dispatchTable measures the dispatchers on a local cloud. A proxy before its AWS counts their
// requests.
func dispatchTable(ctx context.Context, on *clouds, dispatches []dispatch, invocations int) error {
	c, err := on.get(ctx, 0)
	if err != nil {
		return err
	}
	client, err := newAPI(ctx, c)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, d := range dispatches {
		cells, err := d.measure(ctx, c, client, invocations)
		if err != nil {
			return fmt.Errorf("%s with a container of %s: %w", d.function, d.takes, err)
		}
		rows = append(rows, append([]string{d.function, d.takes.String(), d.history}, cells...))
	}
	table("function\tcontainer takes\thistory\tCPU\tat 128 MB\tat 256 MB\tat 512 MB\tAWS calls\tto AWS\tfrom AWS\tpeak memory\twhich calls\t", rows)
	return nil
}

// measure invokes the function with new messages or occurrences, one after another. Allocations
// are not measured, because the function runs in a process of its own.
func (d dispatch) measure(ctx context.Context, c *cloud.Cloud, client api, invocations int) (cells []string, err error) {
	target, err := newContainer(d.takes)
	if err != nil {
		return nil, err
	}
	defer target.close()
	next, units, err := d.events(ctx, c, client, target.url)
	if err != nil {
		return nil, err
	}
	proxy, err := newCounter(c.AWSEndpoint())
	if err != nil {
		return nil, err
	}
	defer proxy.close()
	host := hostOf(c, d.function, proxy.url)
	defer host.Close()
	invoke := func(times int, pause time.Duration) (done int, err error) {
		for began := time.Now(); done < times && time.Since(began) < dispatchTime; done++ {
			time.Sleep(pause) //nolint:forbidigo // keeps the rate
			payload, err := json.Marshal(next())
			if err != nil {
				return done, err
			}
			if _, err := host.Invoke(ctx, d.function, payload); err != nil {
				return done, err
			}
		}
		return done, nil
	}
	if _, err := invoke(warmUp, 0); err != nil {
		return nil, err
	}
	pid, err := processOf(filepath.Join(".build", d.function, "bootstrap"))
	if err != nil {
		return nil, err
	}
	before, err := cpuOf(pid)
	if err != nil {
		return nil, err
	}
	target.reset()
	counted := proxy.soFar()
	done, err := invoke(invocations, d.pause)
	if err != nil {
		return nil, err
	}
	after, err := cpuOf(pid)
	if err != nil {
		return nil, err
	}
	spent, count := proxy.soFar().minus(counted), done*units
	if taken := int(target.taken.Load()); taken != count {
		return nil, fmt.Errorf("the container took %d calls, not %d", taken, count)
	}
	peak, err := peakOf(pid)
	if err != nil {
		return nil, err
	}
	cpu := (after - before) / time.Duration(count)
	cells = append(cells, microseconds(cpu)+" us")
	for _, memoryMB := range []int{128, 256, 512} {
		cells = append(cells, ms(time.Duration(float64(cpu)/cpusOf(memoryMB))))
	}
	cells = append(cells, spent.cells(count)...)
	return append(cells, megabytes(peak), spent.operations(count)), nil
}

// hostOf runs a function of a cloud in a process of its own, which has the endpoint for AWS.
func hostOf(c *cloud.Cloud, function, endpoint string) *lambda.Host {
	host := &lambda.Host{Log: func(string, string) {}, Environment: map[string]string{
		"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
	}}
	host.Start()
	f := c.Function(function)
	f.Environment = maps.Clone(f.Environment)
	f.Environment["AWS_ENDPOINT_URL"] = endpoint
	f.ARN = function // by which measure invokes it
	host.Add(f, function)
	return host
}

// events creates a trigger. It returns a function that makes new events for the dispatcher, and
// the number of messages or occurrences in each.
func (d dispatch) events(ctx context.Context, c *cloud.Cloud, client api, containerURL string) (next func() any, units int, err error) {
	config := map[string]any{"tags": []string{"delivery.history=" + d.history}}
	payload := newPayload()
	if d.function == "dispatch-queue" {
		queue, err := createQueue(ctx, c)
		if err != nil {
			return nil, 0, err
		}
		config["sqs_config"] = queue.config
		_, err = client.createTrigger(ctx, containerURL, config)
		return func() any { return queue.batch(string(payload)) }, batchSize, err
	}
	const schedule = "0 0 1 1 *" // the local cloud does not fire it while it is measured
	config["cron_config"] = map[string]any{"schedule": schedule, "timezone": "Etc/UTC", "body": string(payload)}
	created, err := client.createTrigger(ctx, containerURL, config)
	if err != nil {
		return nil, 0, err
	}
	minute := time.Now().Truncate(time.Minute)
	return func() any {
		minute = minute.Add(-time.Minute)
		return map[string]any{
			"trigger_id": created["id"], "container_id": created["container_id"], "scheduled_time": minute,
			"schedule": schedule, "timezone": "Etc/UTC", "filter": "",
		}
	}, 1, nil
}

// batch returns Lambda's event for messages that nobody received before.
func (q ownQueue) batch(body string) events.SQSEvent {
	batch := events.SQSEvent{Records: make([]events.SQSMessage, batchSize)}
	now := strconv.FormatInt(time.Now().UnixMilli(), 10)
	for i := range batch.Records {
		batch.Records[i] = events.SQSMessage{
			MessageId: uuid.NewString(), ReceiptHandle: uuid.NewString(), Body: body, EventSource: "aws:sqs", EventSourceARN: q.arn, AWSRegion: "us-east-1",
			Attributes: map[string]string{
				"ApproximateReceiveCount": "1", "SentTimestamp": now, "ApproximateFirstReceiveTimestamp": now, "SenderId": "AIDAMADEUPSENDER",
			},
		}
	}
	return batch
}
