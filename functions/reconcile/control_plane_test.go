package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
)

// neighbor is other software of the same AWS account, such as a deployment, that calls
// Lambda's control plane five times a second.
type neighbor struct {
	calls int
	// longest is the longest time for which Lambda has throttled it.
	longest time.Duration
}

// run calls until ctx ends.
func (n *neighbor) run(ctx context.Context, cfg aws.Config) {
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	client := awslambda.NewFromConfig(cfg)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for served := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_, err := client.ListFunctions(ctx, &awslambda.ListFunctionsInput{MaxItems: aws.Int32(1)})
		switch _, throttled := errors.AsType[*lambdatypes.TooManyRequestsException](err); {
		case throttled:
			n.longest = max(n.longest, time.Since(served))
		case err == nil:
			n.calls++
			served = time.Now()
		}
	}
}

// timed is an HTTP client that notes when requests begin.
type timed struct {
	mu sync.Mutex
	at []time.Time
}

func (c *timed) Do(request *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.at = append(c.at, time.Now())
	c.mu.Unlock()
	return http.DefaultClient.Do(request)
}

// most returns the largest number of requests that began within a time.
func (c *timed) most(within time.Duration) (most int) {
	first := 0
	for i, at := range c.at {
		for at.Sub(c.at[first]) > within {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func TestReconcile_AHundredQueuesAtOnceLeaveTheControlPlaneToOthers(t *testing.T) {
	t.Parallel()
	g, cfg := guardtest.Start(t)
	g.SetMappingTime(time.Second)
	b := setupOn(t, cfg)
	const count = 100
	ids := make([]string, count)
	records := make([]events.DynamoDBEventRecord, count)
	for i := range ids {
		ids[i] = b.createSQS(b.createQueue("queue-" + uuid.NewString()))
	}
	// stream brings the rows as they are now.
	stream := func() {
		t.Helper()
		for i, id := range ids {
			records[i] = b.record(id, nil, b.image(b.triggers.Table, id))
		}
		began := time.Now()
		if failed := b.handleRecords(records...); failed > 0 {
			t.Errorf("%d records were given back", failed)
		}
		t.Logf("the stream went on after %s", time.Since(began))
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var (
		others neighbor
		beside sync.WaitGroup
	)
	beside.Go(func() { others.run(ctx, cfg) })
	calls := &timed{}
	counted := cfg.Copy()
	counted.HTTPClient = calls
	// Lambda allows two runs at once, each in a process of its own.
	for range 2 {
		run := newBundle(t, cfg)
		pace := &eventsource.Pace{Interval: eventsource.RunInterval}
		run.changes.url, run.changes.pace = b.changes.url, pace
		run.queues.Mappings.Client = awslambda.NewFromConfig(pace.Apply(counted))
		beside.Go(func() {
			for ctx.Err() == nil {
				run.handleMessages()
			}
		})
	}
	until := func(what string, each func(trigger.Trigger, error) bool) {
		t.Helper()
		began := time.Now()
		for _, id := range ids {
			for !each(b.triggers.Get(ctx, id)) {
				if time.Since(began) > 3*time.Minute {
					t.Fatalf("not all are %s after %s", what, time.Since(began))
				}
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		}
		t.Logf("all were %s after %s", what, time.Since(began))
	}

	stream()
	until("ready", func(row trigger.Trigger, err error) bool { return err == nil && row.Status == trigger.Ready })
	if _, err := b.containers.MarkDeleting(ctx, b.container.ID); err != nil {
		t.Fatal(err)
	}
	b.handleRecords(b.deleting(b.containers.Table, b.container.ID))
	stream()
	until("gone", func(_ trigger.Trigger, err error) bool { return errors.Is(err, store.ErrNotFound) })
	stop()
	beside.Wait()

	b.handleRecords(b.deleting(b.containers.Table, b.container.ID))
	if _, err := b.containers.Get(t.Context(), b.container.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the container is left: %v", err)
	}
	// Two a second, and those with which the time begins.
	if most := calls.most(5 * time.Second); len(calls.at) < 2*count || most > 2*5+2 {
		t.Errorf("%d calls were made, and up to %d in 5 seconds", len(calls.at), most)
	}
	t.Logf("the neighbor made %d calls and was throttled for %s at most", others.calls, others.longest)
	if others.calls < count || others.longest > time.Second {
		t.Errorf("the neighbor made %d calls and was throttled for %s", others.calls, others.longest)
	}
}
