package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/trigger"
)

// createQueue makes a queue of that name, and gives its URL.
func (b *testBundle) createQueue(name string) (url string) {
	b.t.Helper()
	created, err := sqs.NewFromConfig(mototest.Config(b.t)).CreateQueue(b.t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		b.t.Fatal(err)
	}
	return *created.QueueUrl
}

// createSQS writes an SQS trigger on a queue, with the operator's key.
func (b *testBundle) createSQS(url string) (id string) {
	b.t.Helper()
	body := fmt.Sprintf(`{"name":"n","container_id":%q,"sqs_config":{"endpoint":%q,"queue_url":%q,"access_key_id":"local","secret_access_key":"s"}}`, b.container.ID, b.endpoint, url)
	created, key, err := trigger.Create([]byte(body), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	sealed, err := b.sources.Sealer.Seal(b.t.Context(), trigger.Resource, created.ID, *key)
	if err != nil {
		b.t.Fatal(err)
	}
	created.Owner = b.container.Owner
	if err := b.triggers.Create(b.t.Context(), b.containers, created.WithSecret(sealed)); err != nil {
		b.t.Fatal(err)
	}
	return created.ID
}

// heldQueues tells each queue that a trigger holds, by the first word of its name,
// and whether it is mapped.
func (b *testBundle) heldQueues(id string) (held []string) {
	b.t.Helper()
	arns, err := b.sources.Claims.Held(context.Background(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, arn := range arns {
		claim, err := b.sources.Claims.Queue(context.Background(), arn)
		if err != nil || claim.TriggerID != id {
			b.t.Fatalf("the claim on %s: %+v, %v", arn, claim, err)
		}
		held = append(held, fmt.Sprintf("%s mapped %d", word(arn), b.mapped(arn)))
	}
	return held
}

func word(arn string) string {
	word, _, _ := strings.Cut(arn[strings.LastIndex(arn, ":")+1:], "-")
	return word
}

func (b *testBundle) mapped(arn string) int {
	b.t.Helper()
	page, err := awslambda.NewFromConfig(mototest.Config(b.t)).ListEventSourceMappings(context.Background(), &awslambda.ListEventSourceMappingsInput{EventSourceArn: &arn})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(page.EventSourceMappings)
}

func TestReconcile_KilledAtAnyCallConvergesOnQueues(t *testing.T) {
	t.Parallel()
	ready := func(b *testBundle) string {
		id := b.createSQS(b.createQueue("old-" + uuid.NewString()))
		b.handleRow(id)
		b.expect(id, `old mapped 1; ready "" settled true`)
		return id
	}
	killed(t, map[string]pass{
		"create": {
			func(b *testBundle) string { return b.createSQS(b.createQueue("new-" + uuid.NewString())) },
			`new mapped 1; ready "" settled true`,
		},
		"update": {
			func(b *testBundle) string {
				id := ready(b)
				b.update(id, `{"sqs_config":{"queue_url":"`+b.createQueue("new-"+uuid.NewString())+`"}}`)
				return id
			},
			`new mapped 1; ready "" settled true`,
		},
		"delete": {
			func(b *testBundle) string {
				id := ready(b)
				b.markDeleting(id)
				return id
			},
			"no row",
		},
	})
}

func TestReconcile_RequeuesTheWaitingTriggerOnceTheQueueIsFree(t *testing.T) {
	t.Parallel()
	b := setup(t)
	url := b.createQueue("queue-" + uuid.NewString())
	first, second := b.createSQS(url), b.createSQS(url)
	b.handleRow(first)
	b.handleRow(second)
	if waits := b.get(second); waits.Status != trigger.Error || !strings.Contains(waits.ErrorMessage, first) || !waits.Settled() {
		t.Errorf("got %s %q", waits.Status, waits.ErrorMessage)
	}
	b.markDeleting(first)
	b.handleRow(first)
	if b.get(second).Settled() {
		t.Error("the trigger that waits was not opened")
	}
	b.handleRow(second)
	b.expect(second, `queue mapped 1; ready "" settled true`)
}

func TestReconcile_FailedUpdateUnmapsTheOldQueue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := "old-" + uuid.NewString()
	id := b.createSQS(b.createQueue(old))
	b.handleRow(id)
	b.update(id, `{"sqs_config":{"queue_url":"`+b.endpoint+`/123456789012/missing"}}`)
	b.handleRow(id)
	if got := b.world(id); !strings.HasPrefix(got, `error "there is no queue`) || !strings.HasSuffix(got, "settled true") {
		t.Errorf("got %s", got)
	}
	if got := b.mapped("arn:aws:sqs:us-east-1:123456789012:" + old); got != 0 {
		t.Errorf("the old queue is still mapped %d times", got)
	}
}

func TestReconcile_StreamRecordsMakeNoCallAboutMappings(t *testing.T) {
	t.Parallel()
	cfg := guarded(t)
	b, calls := setupOn(t, cfg), &lambdaCalls{}
	cfg.HTTPClient = calls
	counted := newBundle(t, cfg)
	counted.container, counted.changes.url = b.container, b.changes.url
	url := b.createQueue("queue-" + uuid.NewString())
	id := b.createSQS(url)
	record := func() events.DynamoDBEventRecord { return b.record(id, nil, b.image(b.triggers.Table, id)) }
	if failed := counted.handleRecords(record()); failed != 0 {
		t.Error("the record was given back")
	}
	if got := b.get(id); got.Status != trigger.Creating || got.Settled() || calls.count.Load() != 0 {
		t.Errorf("got %s, settled %t, after %d calls to Lambda", got.Status, got.Settled(), calls.count.Load())
	}
	if failed := counted.handleMessages(); failed != 0 || calls.count.Load() != 1 {
		t.Errorf("%d messages were given back, after %d calls to Lambda", failed, calls.count.Load())
	}
	b.expect(id, `queue mapped 1; ready "" settled true`)

	b.markDeleting(id)
	if counted.handleRecords(record()) != 0 || calls.count.Load() != 1 {
		t.Errorf("the record was given back, or reached Lambda: %d calls", calls.count.Load())
	}
	// While Lambda may still read the queue for this trigger, nobody else may have it.
	if got := b.heldQueues(id); b.get(id).Status != trigger.Deleting || len(got) != 1 {
		t.Errorf("the queue was released before its mapping: %v", got)
	}
	if failed := counted.handleMessages(); failed != 0 || calls.count.Load() != 2 {
		t.Errorf("%d messages were given back, after %d calls to Lambda", failed, calls.count.Load())
	}
	b.expect(id, "no row")
}

// lambdaCalls is an HTTP client that counts the calls to Lambda.
type lambdaCalls struct{ count atomic.Int64 }

func (c *lambdaCalls) Do(request *http.Request) (*http.Response, error) {
	if strings.Contains(request.Header.Get("Authorization"), "/lambda/") {
		c.count.Add(1)
	}
	return http.DefaultClient.Do(request)
}

func TestReconcile_MessageComesBackWhileLambdaIsBusyWithTheMapping(t *testing.T) {
	t.Parallel()
	g, cfg := guardtest.Start(t)
	g.SetMappingTime(time.Hour)
	b := setupOn(t, cfg)
	id := b.createSQS(b.createQueue("queue-" + uuid.NewString()))
	if b.handleRow(id) != 0 {
		t.Error("the trigger was given back")
	}
	// It is ready, although Lambda does not poll the queue yet.
	b.expect(id, `queue mapped 1; ready "" settled true`)

	b.markDeleting(id)
	if b.handleRow(id) != 1 || b.handleMessages() != 1 {
		t.Error("the deletion was not given back while Lambda refused it")
	}
	if got := b.heldQueues(id); b.get(id).Status != trigger.Deleting || len(got) != 1 {
		t.Errorf("the queue was released before its mapping: %v", got)
	}
	g.EndChanges()
	if b.handleMessages() != 0 {
		t.Error("the deletion was given back again")
	}
	b.expect(id, "no row")
}

func TestReconcile_NeverRevealsASecretThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.createSQS(b.createQueue("queue-" + uuid.NewString()))
	current := b.get(id)
	foreign, err := b.sources.Sealer.Seal(t.Context(), trigger.Resource, uuid.NewString(), secret.Text("of another trigger"))
	if err != nil {
		t.Fatal(err)
	}
	updated := current.WithSecret(foreign)
	updated.Generation++
	if _, err := b.triggers.Update(t.Context(), current, updated); err != nil {
		t.Fatal(err)
	}
	b.handleRow(id)
	if got := b.get(id); got.Status != trigger.Error || got.ErrorMessage == "" || strings.Contains(got.ErrorMessage, "of another") {
		t.Errorf("got %s %q", got.Status, got.ErrorMessage)
	}
	if held := b.heldQueues(id); len(held) > 0 {
		t.Errorf("got %v", held)
	}
}

func TestReconcile_DoesNotNameADeletedTriggerThatHoldsTheQueue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := "queue-" + uuid.NewString()
	url, arn := b.createQueue(name), "arn:aws:sqs:us-east-1:123456789012:"+name
	gone := uuid.NewString()
	if err := b.sources.Claims.Claim(t.Context(), store.QueueClaim{Queue: arn, TriggerID: gone, ContainerID: gone, QueueURL: url}); err != nil {
		t.Fatal(err)
	}
	id := b.createSQS(url)
	b.handleRow(id)
	if got := b.get(id).ErrorMessage; !strings.Contains(got, "another trigger") || strings.Contains(got, gone) {
		t.Errorf("got %q", got)
	}
}
