package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/dispatch/batch"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

// testBundle is the function on moto, with a trigger that has a queue, on a
// container that answers as it is told.
type testBundle struct {
	function
	tb       testing.TB
	env      map[string]string
	queues   *sqs.Client
	queueURL string
	queueARN string
	trigger  trigger.Trigger
	to       container.Container
	counter  *counter
	clock    time.Time

	mu     sync.Mutex
	answer http.HandlerFunc
	bodies []string
}

// counter counts the calls to AWS.
type counter struct {
	mu    sync.Mutex
	calls map[string]int
}

func (c *counter) Do(request *http.Request) (*http.Response, error) {
	c.mu.Lock()
	target := request.Header.Get("X-Amz-Target")
	c.calls[target[strings.LastIndex(target, ".")+1:]]++
	c.mu.Unlock()
	return http.DefaultClient.Do(request)
}

// reset forgets the calls and gives what they were.
func (c *counter) reset() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = map[string]int{}
	return calls
}

func setup(tb testing.TB) *testBundle {
	tb.Helper()
	b := &testBundle{tb: tb, env: mototest.Environment(tb, "dispatch-queue"), counter: &counter{calls: map[string]int{}}, clock: time.Now()}
	cfg := mototest.Config(tb)
	cfg.HTTPClient = b.counter
	b.queues = sqs.NewFromConfig(cfg)
	b.function = b.fresh(cfg)
	b.answer = func(http.ResponseWriter, *http.Request) {}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.bodies = append(b.bodies, string(body))
		answer := b.answer
		b.mu.Unlock()
		answer(w, r)
	}))
	tb.Cleanup(server.Close)

	name := uuid.NewString()
	created, err := b.queues.CreateQueue(context.Background(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		tb.Fatal(err)
	}
	b.queueURL, b.queueARN = *created.QueueUrl, "arn:aws:sqs:us-east-1:123456789012:"+name
	b.to = container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1,
		Owner:          auth.Owner{OrganizationID: uuid.NewString(), ProjectID: uuid.NewString()},
		PublicEndpoint: server.URL, Privacy: container.Public, Timeout: time.Minute,
	}
	if err := b.targets.Containers.Create(context.Background(), b.to); err != nil {
		tb.Fatal(err)
	}
	body := fmt.Sprintf(`{"name":"n","container_id":%q,"sqs_config":{"endpoint":"https://sqs.example","access_key_id":"a","secret_access_key":"s","queue_url":%q}}`, b.to.ID, b.queueURL)
	b.trigger, _, err = trigger.Create([]byte(body), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	b.trigger.Owner = b.to.Owner
	if err := b.targets.Triggers.Create(context.Background(), b.targets.Containers, b.trigger); err != nil {
		tb.Fatal(err)
	}
	if err := b.targets.Triggers.MarkObserved(context.Background(), b.trigger, "", time.Now()); err != nil {
		tb.Fatal(err)
	}
	b.claim(0)
	b.counter.reset()
	return b
}

// fresh is the function as main makes it, for a new execution environment.
func (b *testBundle) fresh(cfg aws.Config) function {
	db := dynamodb.NewFromConfig(cfg)
	return function{
		targets: &targets{
			Resolver: resolve.Resolver{
				Triggers:   store.Triggers{Client: db, Table: b.env["TRIGGERS_TABLE"]},
				Containers: store.Containers{Client: db, Table: b.env["CONTAINERS_TABLE"]},
				Tokens:     &resolve.Tokens{}, Sealer: seal.Sealer{Client: kms.NewFromConfig(cfg), KeyID: b.env["KMS_KEY_ID"]},
				Now: func() time.Time { return b.clock },
			},
			claims: store.Claims{Client: db, Table: b.env["CLAIMS_TABLE"]}, cache: map[string]claimed{},
		},
		messages: b.queues, bus: lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: b.env["EVENT_BUS"]},
		client: invoke.New(invoke.Settings{AllowPrivate: true}), delivered: newDelivered(),
	}
}

func (b *testBundle) claim(maxReceives int) {
	b.tb.Helper()
	err := b.targets.claims.Claim(context.Background(), store.QueueClaim{
		Queue: b.queueARN, TriggerID: b.trigger.ID, ContainerID: b.to.ID, QueueURL: b.queueURL, MaxReceives: maxReceives,
	})
	if err != nil {
		b.tb.Fatal(err)
	}
}

// answers has the container answer a status to all calls.
func (b *testBundle) answers(status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// called are the bodies that the container got since it was asked last.
func (b *testBundle) called() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	bodies := b.bodies
	b.bodies = nil
	slices.Sort(bodies)
	return bodies
}

// batch is Lambda's event of some messages. They are not in the queue.
func (b *testBundle) batch(receives int, bodies ...string) events.SQSEvent {
	var batch events.SQSEvent
	for _, body := range bodies {
		batch.Records = append(batch.Records, events.SQSMessage{
			MessageId: "id-" + body, ReceiptHandle: "receipt-" + body, Body: body, EventSourceARN: b.queueARN,
			Attributes: map[string]string{"ApproximateReceiveCount": strconv.Itoa(receives), "SentTimestamp": "1795431600000"},
		})
	}
	return batch
}

// deliver runs the function and gives the messages that it reports as failed.
func (b *testBundle) deliver(batch events.SQSEvent) (failed []string) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	response, err := b.handle(ctx, batch)
	if err != nil {
		b.tb.Fatal(err)
	}
	for _, failure := range response.BatchItemFailures {
		failed = append(failed, failure.ItemIdentifier)
	}
	return failed
}

func (b *testBundle) errorMessage() string {
	b.tb.Helper()
	found, err := b.targets.Triggers.Get(context.Background(), b.trigger.ID)
	if err != nil {
		b.tb.Fatal(err)
	}
	return found.ErrorMessage
}

func TestHandle_ReportsAndDelaysOnlyTheFailedMessages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.answer = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Ce-Id") == "id-bad" {
			w.WriteHeader(http.StatusBadGateway)
		}
	}
	if failed := b.deliver(b.batch(1, "one", "bad", "two")); !slices.Equal(failed, []string{"id-bad"}) {
		t.Errorf("got %v", failed)
	}
	if got := b.called(); !slices.Equal(got, []string{"bad", "one", "two"}) {
		t.Errorf("the container got %v", got)
	}
	if got := b.counter.reset()["ChangeMessageVisibilityBatch"]; got != 1 {
		t.Errorf("the visibility was changed %d times", got)
	}
	if got := b.errorMessage(); got != "the container answered 502 Bad Gateway" {
		t.Errorf("got %q", got)
	}
}

func TestHandle_FailedMessageReturnsAfterItsBackoff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.answers(http.StatusInternalServerError)
	if _, err := b.queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &b.queueURL, MessageBody: aws.String("m")}); err != nil {
		t.Fatal(err)
	}
	receive := func(wait int32) []sqstypes.Message {
		page, err := b.queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &b.queueURL, VisibilityTimeout: 900, WaitTimeSeconds: wait})
		if err != nil {
			t.Fatal(err)
		}
		return page.Messages
	}
	batch := b.batch(1, "m")
	batch.Records[0].ReceiptHandle = *receive(0)[0].ReceiptHandle
	b.deliver(batch)
	if got := receive(0); len(got) > 0 {
		t.Error("it came back at once")
	}
	if got := receive(10); len(got) != 1 {
		t.Error("it did not come back")
	}
}

func TestHandle_ReadsTheTriggerOnceAndReusesItForSeconds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.deliver(b.batch(1, "1", "2", "3"))
	if got := b.counter.reset(); got["GetItem"] != 1 || got["BatchGetItem"] != 1 || len(got) != 2 {
		t.Errorf("the first batch: %v", got)
	}
	b.deliver(b.batch(1, "4", "5"))
	if got := b.counter.reset(); len(got) != 0 {
		t.Errorf("the second batch: %v", got)
	}
	b.clock = b.clock.Add(resolve.TTL)
	b.deliver(b.batch(1, "6"))
	if got := b.counter.reset(); got["GetItem"] != 1 || got["BatchGetItem"] != 1 || len(got) != 2 {
		t.Errorf("seconds later: %v", got)
	}
}

func TestHandle_WritesTheErrorMessageOnlyIfItChanges(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.answers(http.StatusInternalServerError)
	for range 5 {
		b.deliver(b.batch(1, "a", "b"))
	}
	if got := b.counter.reset()["UpdateItem"]; got != 1 || !strings.Contains(b.errorMessage(), "500") {
		t.Errorf("%d writes for the same failure, %q", got, b.errorMessage())
	}
	b.answers(http.StatusOK)
	for range 5 {
		b.deliver(b.batch(1, "a", "b"))
	}
	if got := b.counter.reset()["UpdateItem"]; got != 1 || b.errorMessage() != "" {
		t.Errorf("%d writes for successes, %q", got, b.errorMessage())
	}

	// Another environment noted a failure that this one does not know of: the
	// message's success at a later try clears it all the same.
	if err := b.targets.Triggers.SetLastError(t.Context(), b.trigger.ID, "the container answered 500"); err != nil {
		t.Fatal(err)
	}
	b.deliver(b.batch(2, "again"))
	if got := b.errorMessage(); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestHandle_DeliversNothingForATriggerThatLeftTheQueue(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*testBundle) error{
		"being deleted": func(b *testBundle) error {
			_, err := b.targets.Triggers.MarkDeleting(t.Context(), b.trigger.ID)
			return err
		},
		"gone": func(b *testBundle) error {
			if _, err := b.targets.Triggers.MarkDeleting(t.Context(), b.trigger.ID); err != nil {
				return err
			}
			return b.targets.Triggers.Remove(t.Context(), b.trigger)
		},
		"paused": func(b *testBundle) error {
			current, err := b.targets.Triggers.Get(t.Context(), b.trigger.ID)
			if err != nil {
				return err
			}
			paused, err := current.Pause([]byte(`{}`), time.Now())
			if err != nil {
				return err
			}
			_, err = b.targets.Triggers.Update(t.Context(), current, paused)
			return err
		},
		"on its way to another queue": func(b *testBundle) error {
			current, err := b.targets.Triggers.Get(t.Context(), b.trigger.ID)
			if err != nil {
				return err
			}
			updated, _, err := current.Update([]byte(`{"sqs_config":{"queue_url":"https://sqs.example/1/other"}}`), time.Now())
			if err != nil {
				return err
			}
			_, err = b.targets.Triggers.Update(t.Context(), current, updated)
			return err
		},
		"without the queue": func(b *testBundle) error {
			_, err := b.targets.claims.Release(t.Context(), b.queueARN, b.trigger.ID)
			return err
		},
	} {
		b := setup(t)
		b.deliver(b.batch(1, "before"))
		if err := change(b); err != nil {
			t.Fatal(err)
		}
		b.clock = b.clock.Add(resolve.TTL)
		b.called()
		b.counter.reset()
		if failed := b.deliver(b.batch(1, "m1", "m2")); !slices.Equal(failed, []string{"id-m1", "id-m2"}) {
			t.Errorf("%s: reported %v", name, failed)
		}
		if got := b.called(); len(got) > 0 {
			t.Errorf("%s: the container got %v", name, got)
		}
		if got := b.counter.reset()["ChangeMessageVisibilityBatch"]; got != 1 {
			t.Errorf("%s: the messages' visibility timeout was set %d times", name, got)
		}
	}
}

// recorded is an SQS that records how long messages are hidden.
type recorded struct {
	batch.API
	url    string
	hidden []int32
	err    error
}

func (r *recorded) ChangeMessageVisibilityBatch(_ context.Context, input *sqs.ChangeMessageVisibilityBatchInput, _ ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	r.url = *input.QueueUrl
	for _, entry := range input.Entries {
		r.hidden = append(r.hidden, entry.VisibilityTimeout)
	}
	return &sqs.ChangeMessageVisibilityBatchOutput{}, r.err
}

func TestHandle_GivesMessagesBackForAMinuteIfItCannotCall(t *testing.T) {
	t.Parallel()
	for name, disturb := range map[string]func(*testBundle){
		"no trigger has the queue": func(b *testBundle) {
			if _, err := b.targets.claims.Release(t.Context(), b.queueARN, b.trigger.ID); err != nil {
				t.Fatal(err)
			}
		},
		"a table cannot be read": func(b *testBundle) { b.targets.claims.Table = "missing" },
	} {
		b := setup(t)
		disturb(b)
		queue := &recorded{}
		b.messages = queue
		if failed := b.deliver(b.batch(1, "m1", "m2")); !slices.Equal(failed, []string{"id-m1", "id-m2"}) {
			t.Errorf("%s: reported %v", name, failed)
		}
		if !slices.Equal(queue.hidden, []int32{60, 60}) || !strings.HasSuffix(b.queueURL, queue.url[strings.LastIndex(queue.url, "/"):]) {
			t.Errorf("%s: %s hides them for %v s", name, queue.url, queue.hidden)
		}
		queue.hidden = nil
		b.deliver(b.batch(9, "m"))
		if len(queue.hidden) != 1 || queue.hidden[0] < 128 || queue.hidden[0] > 256 {
			t.Errorf("%s: after 9 receives it is hidden for %v s", name, queue.hidden)
		}
		// All come back by their visibility timeout if SQS does not answer.
		queue.err = errors.New("SQS is down")
		if _, err := b.handle(t.Context(), b.batch(1, "m")); err == nil {
			t.Errorf("%s: the failure of SQS is not told", name)
		}
	}
}

func TestHandle_FollowsAChangedDestination(t *testing.T) {
	t.Parallel()
	b := setup(t)
	paths := make(chan string, 2)
	b.answer = func(_ http.ResponseWriter, r *http.Request) { paths <- r.URL.Path }
	b.deliver(b.batch(1, "m"))
	current, err := b.targets.Triggers.Get(t.Context(), b.trigger.ID)
	if err != nil {
		t.Fatal(err)
	}
	updated, _, err := current.Update([]byte(`{"destination_config":{"http_path":"/new"}}`), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.targets.Triggers.Update(t.Context(), current, updated); err != nil {
		t.Fatal(err)
	}
	b.clock = b.clock.Add(resolve.TTL)
	b.deliver(b.batch(1, "m"))
	if first, second := <-paths, <-paths; first != "/" || second != "/new" {
		t.Errorf("got %s and %s", first, second)
	}
}

func TestHandle_OpensTheTokenOfAPrivateContainerOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tokens := make(chan string, 3)
	b.answer = func(_ http.ResponseWriter, r *http.Request) { tokens <- r.Header.Get("X-Auth-Token") }
	private := func(token secret.Text) {
		sealed, err := b.targets.Sealer.Seal(t.Context(), container.Resource, b.to.ID, token)
		if err != nil {
			t.Fatal(err)
		}
		old := b.to
		b.to.Privacy, b.to.SealedToken = container.Private, sealed
		b.to.Generation++
		if _, err := b.targets.Containers.Update(t.Context(), old, b.to); err != nil {
			t.Fatal(err)
		}
		b.clock = b.clock.Add(resolve.TTL)
	}
	private("first")
	b.deliver(b.batch(1, "m"))
	b.clock = b.clock.Add(resolve.TTL)
	b.deliver(b.batch(1, "m"))
	if got := b.counter.reset()["Decrypt"]; got != 1 {
		t.Errorf("the token was opened %d times", got)
	}
	private("second")
	b.deliver(b.batch(1, "m"))
	if got := []string{<-tokens, <-tokens, <-tokens}; !slices.Equal(got, []string{"first", "first", "second"}) {
		t.Errorf("the container got %v", got)
	}
}

func TestHandle_PutsAnEventIfTheLastAttemptFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.claim(3)
	b.answers(http.StatusInternalServerError)
	for receives, want := range map[int]int{1: 0, 2: 0, 3: 1, 4: 1} {
		b.counter.reset()
		b.deliver(b.batch(receives, "m"))
		if got := b.counter.reset()["PutEvents"]; got != want {
			t.Errorf("received %d times: %d events", receives, got)
		}
	}
}

func TestHandle_ShortRunNamesTheVisibilityTimeoutToSet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	release := make(chan struct{})
	b.answer = func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithTimeout(t.Context(), recordTime+5*time.Second)
	defer cancel()
	response, err := b.handle(ctx, b.batch(1, "m"))
	if err != nil || len(response.BatchItemFailures) != 1 || ctx.Err() != nil {
		t.Fatalf("got %v, %v, %v", response, err, ctx.Err())
	}
	if got := b.errorMessage(); !strings.Contains(got, "did not answer within") || !strings.Contains(got, "visibility timeout to 900s") {
		t.Errorf("got %q", got)
	}
}

func TestHandle_FailedLookupReturnsTheBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg := mototest.Config(t)
	cfg.BaseEndpoint = aws.String("http://127.0.0.1:1")
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	b.function = b.fresh(cfg)
	response, err := b.handle(t.Context(), b.batch(1, "m"))
	if err == nil && len(response.BatchItemFailures) != 1 {
		t.Error("the message would be deleted")
	}
	if got := b.called(); len(got) > 0 {
		t.Errorf("the container got %v", got)
	}
}
