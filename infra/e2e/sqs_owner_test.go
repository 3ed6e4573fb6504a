package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"

	"containertriggers/infra/local/guard"
	"containertriggers/shared/domain/auth"
)

// mappedOn lists the functions that the queue is mapped on, without the mappings that are
// being deleted.
func (q *queue) mappedOn() (functions []string) {
	q.b.t.Helper()
	for _, mapping := range q.mappings() {
		if *mapping.State != "Deleting" {
			functions = append(functions, *mapping.FunctionArn)
		}
	}
	return functions
}

func (q *queue) mappings() []lambdatypes.EventSourceMappingConfiguration {
	q.b.t.Helper()
	client := lambda.NewFromConfig(guard.Uncounted(q.b.AWSConfig()))
	page, err := client.ListEventSourceMappings(q.b.t.Context(), &lambda.ListEventSourceMappingsInput{EventSourceArn: &q.arn})
	if err != nil {
		q.b.t.Fatal(err)
	}
	return page.EventSourceMappings
}

// awaitState waits until the queue's mapping is in a state.
func (q *queue) awaitState(state string) {
	q.b.t.Helper()
	q.b.eventually("the mapping is "+state, func() bool {
		mappings := q.mappings()
		return len(mappings) == 1 && *mappings[0].State == state
	})
}

// awaitMapping waits until Lambda polls the queue, or no longer does.
func (q *queue) awaitMapping(polls bool) {
	q.b.t.Helper()
	q.b.eventually("the mapping is there or gone", func() bool {
		mappings := q.mappings()
		return !polls && len(mappings) == 0 || polls && len(mappings) == 1 && *mappings[0].State == "Enabled"
	})
}

// claimant is the ID of the trigger that has the queue; "" where none has.
func (q *queue) claimant() string {
	q.b.t.Helper()
	claims := q.b.Function("reconcile").Environment["CLAIMS_TABLE"]
	row, err := dynamodb.NewFromConfig(q.b.AWSConfig()).GetItem(q.b.t.Context(), &dynamodb.GetItemInput{
		TableName: &claims, Key: map[string]dbtypes.AttributeValue{"name": &dbtypes.AttributeValueMemberS{Value: q.arn}},
	})
	if err != nil {
		q.b.t.Fatal(err)
	}
	if id, ok := row.Item["trigger_id"].(*dbtypes.AttributeValueMemberS); ok {
		return id.Value
	}
	return ""
}

// expectError waits for a trigger to be in error, with a message that holds words.
func (b *testBundle) expectError(id string, words ...string) {
	b.t.Helper()
	settled := b.wait(id)
	if settled.Status != container.TriggerStatusError {
		b.t.Fatalf("the trigger is %s", settled.Status)
	}
	for _, word := range words {
		if !strings.Contains(*settled.ErrorMessage, word) {
			b.t.Errorf("%q does not say %q", *settled.ErrorMessage, word)
		}
	}
}

// patch changes a trigger with a body as it is.
func (b *testBundle) patch(id, body string) {
	b.t.Helper()
	if r := b.do(http.MethodPatch, regional+"/triggers/"+id, body, nil); r.status != http.StatusOK {
		b.t.Fatalf("got %d %s", r.status, r.text)
	}
}

// swept waits for a trigger to become ready by what sweep does every minute.
func (b *testBundle) swept(id string) {
	b.t.Helper()
	b.nextMinute() // the run is due a minute after the last one,
	b.nextMinute() // which is not at the full minute
	b.eventually("the trigger is ready", func() bool { return b.wait(id).Status == container.TriggerStatusReady })
}

func TestSQSTrigger_OwnsItsQueueAlone(t *testing.T) {
	t.Parallel()
	b, other := setup(t), setup(t)
	q := b.createQueue(nil)
	first := b.createSQS("first", q.config()).ID
	b.expectReady(first)

	second := b.createSQS("second", q.config()).ID
	b.expectError(second, `"first"`, first, "only one trigger")
	// Somebody else's, with a key of his own for the same queue.
	foreign := q.config()
	foreign.AccessKeyID, foreign.SecretAccessKey = other.createUser(q.arn, toShow...)
	third := other.createSQS("third", foreign).ID
	other.expectError(third, "another trigger")
	if message := *other.wait(third).ErrorMessage; strings.Contains(message, first) || strings.Contains(message, "first") {
		t.Errorf("another organization's trigger is named: %s", message)
	}

	if _, err := b.api.DeleteTrigger(&container.DeleteTriggerRequest{TriggerID: first}); err != nil {
		t.Fatal(err)
	}
	ready := func() []string {
		var ids []string
		if b.wait(second).Status == container.TriggerStatusReady {
			ids = append(ids, second)
		}
		if other.wait(third).Status == container.TriggerStatusReady {
			ids = append(ids, third)
		}
		return ids
	}
	b.eventually("one that waits takes over", func() bool { return len(ready()) > 0 && q.claimant() != first })
	if got := ready(); len(got) != 1 || q.claimant() != got[0] || len(q.mappedOn()) != 1 {
		t.Errorf("ready %v, claimed by %s, mapped on %v", got, q.claimant(), q.mappedOn())
	}
}

func TestSQSTrigger_KeyThatMayOnlyDescribeTheQueueIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	needsKeys(t, "a key that may only read a queue's attributes gets none of its messages delivered")
	q := b.createQueue(nil)
	q.send("secret", nil)
	looking := q.config()
	looking.AccessKeyID, looking.SecretAccessKey = b.createUser(q.arn, "sqs:GetQueueAttributes")
	b.expectError(b.createSQS("looking", looking).ID, "sqs:DeleteMessage")
	if claimant, mapped := q.claimant(), q.mappedOn(); claimant != "" || len(mapped) > 0 {
		t.Errorf("the queue is claimed by %s and mapped on %v", claimant, mapped)
	}
}

func TestSQSTrigger_KeyWithoutAccessLearnsNothingOfTheQueue(t *testing.T) {
	t.Parallel()
	b, other := setup(t), setup(t)
	needsKeys(t, "a key that may not read a queue gets nothing of it")
	claimed, free := b.createQueue(nil), b.createQueue(nil)
	b.expectReady(b.createSQS("mine", claimed.config()).ID)
	own := other.createQueue(nil)

	var messages []string
	for _, q := range []*queue{claimed, free} {
		config := own.config()
		config.QueueURL = q.url
		id := other.createSQS("not mine", config).ID
		other.expectError(id, "may not use the queue")
		messages = append(messages, strings.ReplaceAll(*other.wait(id).ErrorMessage, q.name(), "NAME"))
	}
	if messages[0] != messages[1] {
		t.Errorf("the messages tell which queue is in use:\n%s", strings.Join(messages, "\n"))
	}
	if free.claimant() != "" || len(free.mappedOn()) > 0 {
		t.Errorf("the free queue is claimed by %q and mapped on %v", free.claimant(), free.mappedOn())
	}
	claimed.send("for its owner", nil)
	if c := b.nextCall(); c.body != "for its owner" {
		t.Errorf("got %q", c.body)
	}
}

func (q *queue) name() string { return q.arn[strings.LastIndex(q.arn, ":")+1:] }

func TestSQSTrigger_ReportsRepairableErrorsAndHeals(t *testing.T) {
	t.Parallel()
	b := setup(t)

	t.Run("a key that AWS does not know", func(t *testing.T) {
		needsKeys(t, "an unknown key is an error that heals")
		q := b.createQueue(nil)
		config := q.config()
		config.AccessKeyID = "AKIAMADEUPMADEUP1234"
		id := b.createSQS("n", config).ID
		b.expectError(id, "does not know sqs_config.access_key_id")
		b.patch(id, `{"sqs_config":{"access_key_id":"`+q.accessKey+`"}}`)
		b.expectReady(id)
	})
	t.Run("a wrong secret", func(t *testing.T) {
		needsKeys(t, "a wrong secret is an error that heals")
		q := b.createQueue(nil)
		config := q.config()
		config.SecretAccessKey = "wrong" + q.secretKey
		id := b.createSQS("n", config).ID
		b.expectError(id, "secret_access_key does not belong")
		b.patch(id, `{"sqs_config":{"secret_access_key":"`+q.secretKey+`"}}`)
		b.expectReady(id)
	})
	t.Run("a queue that is not there", func(t *testing.T) {
		q := b.createQueue(nil)
		if _, err := q.client.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &q.url}); err != nil {
			t.Fatal(err)
		}
		config := q.config()
		config.AccessKeyID, config.SecretAccessKey = b.createUser("*", toShow...)
		id := b.createSQS("n", config).ID
		b.expectError(id, "there is no queue", q.name(), ".fifo")
		if _, err := q.client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(q.name())}); err != nil {
			t.Fatal(err)
		}
		b.swept(id)
	})
	t.Run("a visibility timeout that grows and shrinks", func(t *testing.T) {
		q := b.createQueue(map[string]string{"VisibilityTimeout": "900"})
		id := b.createSQS("n", q.config()).ID
		b.expectReady(id)
		if on := q.mappedOn(); len(on) != 1 || !strings.Contains(on[0], "DispatchQueueLong") {
			t.Errorf("a queue with a long visibility timeout is mapped on %v", on)
		}
		q.set("VisibilityTimeout", "60")
		b.patch(id, `{"sqs_config":{"secret_access_key":"`+q.secretKey+`"}}`)
		b.expectReady(id)
		if on := q.mappedOn(); len(on) != 1 || strings.Contains(on[0], "DispatchQueueLong") {
			t.Errorf("a queue with a shorter visibility timeout is mapped on %v", on)
		}
	})
}

// set sets an attribute of the queue.
func (q *queue) set(name, value string) {
	q.b.t.Helper()
	if _, err := q.client.SetQueueAttributes(q.b.t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &q.url, Attributes: map[string]string{name: value}}); err != nil {
		q.b.t.Fatal(err)
	}
}

func TestSQSTrigger_MovesToTheQueueOfItsNewConfig(t *testing.T) {
	t.Parallel()
	b := setup(t)
	from, to := b.createQueue(nil), b.createQueue(nil)
	config := from.config()
	config.AccessKeyID, config.SecretAccessKey = b.createUser("*", toShow...)
	id := b.createSQS("wanderer", config).ID
	b.expectReady(id)
	from.send("one", nil)
	if c := b.nextCall(); c.body != "one" {
		t.Errorf("got %q", c.body)
	}
	listed, err := b.api.ListTriggers(&container.ListTriggersRequest{TriggerType: container.TriggerSourceTypeSqs})
	if err != nil || len(listed.Triggers) != 1 || listed.Triggers[0].SqsConfig.QueueURL != from.url {
		t.Errorf("got %v, %v", listed, err)
	}

	b.patch(id, `{"sqs_config":{"queue_url":"`+to.url+`"}}`)
	b.expectReady(id)
	if from.claimant() != "" || len(from.mappedOn()) > 0 || to.claimant() != id {
		t.Errorf("the queue that was left is claimed by %q and mapped on %v; the other one is claimed by %q", from.claimant(), from.mappedOn(), to.claimant())
	}
	from.awaitMapping(false) // until then Lambda polls, and a dispatcher may know the old config for two seconds
	from.send("left behind", nil)
	to.send("two", nil)
	if c := b.nextCall(); c.body != "two" {
		t.Errorf("got %q", c.body)
	}

	if enforcesKeys(t, "keys that do not work leave nothing running, and lose nothing") {
		b.breakAndRepairKey(id, config.SecretAccessKey, to)
	}
	b.delete(id)
	if to.claimant() != "" || len(to.mappedOn()) > 0 {
		t.Errorf("of the deleted trigger there is left: claim %q, mappings %v", to.claimant(), to.mappedOn())
	}
	if got := from.messages(); got != 1 {
		t.Errorf("the queue that was left holds %d messages", got)
	}
}

// breakAndRepairKey gives a trigger a wrong key, and then the right one again.
func (b *testBundle) breakAndRepairKey(id, secret string, to *queue) {
	t := b.t
	t.Helper()
	b.patch(id, `{"sqs_config":{"secret_access_key":"wrong"}}`)
	b.expectError(id, "secret_access_key")
	if to.claimant() != "" || len(to.mappedOn()) > 0 {
		t.Errorf("claimed by %q, mapped on %v", to.claimant(), to.mappedOn())
	}
	to.awaitMapping(false) // what Lambda receives until then comes back after a minute
	to.send("three", nil)
	b.patch(id, `{"sqs_config":{"secret_access_key":"`+secret+`"}}`)
	b.expectReady(id)
	if c := b.nextCall(); c.body != "three" {
		t.Errorf("got %q", c.body)
	}
}

func TestSQSTrigger_FailingContainerIsReportedAndTheMessageDeadLettered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	events := b.lifecycleEvents()
	dead := b.createQueue(nil)
	q := b.createQueue(map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + dead.arn + `","maxReceiveCount":2}`})
	id := b.createSQS("failing", q.config()).ID
	b.expectReady(id)

	b.setAnswer(http.StatusTeapot)
	messageID := q.send("bad", nil)
	for range 2 {
		if c := b.nextCall(); c.header.Get("Ce-Id") != messageID {
			t.Errorf("got the ID %q, want %q each time", c.header.Get("Ce-Id"), messageID)
		}
	}
	b.eventually("the failure is told", func() bool { return strings.Contains(*b.wait(id).ErrorMessage, "418") })
	b.eventually("the message is in the dead-letter queue", func() bool { return dead.messages() == 1 && q.messages() == 0 })
	b.eventually("the event is there", func() bool {
		return slices.ContainsFunc(b.receive(events, id), func(event string) bool {
			return strings.Contains(event, `"Trigger Run Failed"`) && strings.Contains(event, "418")
		})
	})

	b.setAnswer(http.StatusOK)
	q.send("good", nil)
	b.nextCall()
	b.eventually("the success clears it", func() bool { return *b.wait(id).ErrorMessage == "" })
}

func TestSQSTrigger_SecretAppearsInNoAnswerLogOrRow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	events := b.lifecycleEvents()
	q := b.createQueue(nil)
	wrong := "wrong-" + uuid.NewString()
	reader := b.newKey(auth.Principal{OrganizationID: b.organization, DefaultProjectID: b.organization, PermissionSet: auth.ReadOnly}, time.Time{})
	var answers strings.Builder
	note := func(r response) response {
		answers.WriteString(r.text)
		return r
	}
	create := func(secret string) string {
		body := fmt.Sprintf(`{"name":"n","container_id":%q,"sqs_config":{"endpoint":%q,"queue_url":%q,"access_key_id":%q,"secret_access_key":%q}}`,
			b.containerID, b.AWSEndpoint(), q.url, q.accessKey, secret)
		return note(b.do(http.MethodPost, regional+"/triggers", body, nil)).body["id"].(string)
	}
	good := create(q.secretKey)
	b.expectReady(good)
	bad := create(wrong)
	b.expectError(bad) // where keys do not count, because the queue is taken
	q.send("m", nil)
	b.nextCall()
	for _, id := range []string{good, bad} {
		note(b.do(http.MethodGet, regional+"/triggers/"+id, "", nil))
		note(b.do(http.MethodGet, regional+"/triggers/"+id, "", map[string]string{"X-Auth-Token": reader}))
		note(b.do(http.MethodPatch, regional+"/triggers/"+id, `{"sqs_config":{"secret_access_key":"`+q.secretKey+`","endpoint":"\u0000"}}`, nil))
	}
	note(b.do(http.MethodGet, regional+"/triggers", "", nil))

	var stored strings.Builder
	db := dynamodb.NewFromConfig(b.AWSConfig())
	for name, table := range b.Function("reconcile").Environment {
		if !strings.HasSuffix(name, "_TABLE") {
			continue
		}
		page, err := db.Scan(t.Context(), &dynamodb.ScanInput{TableName: &table})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(page.Items)
		if err != nil {
			t.Fatal(err)
		}
		stored.Write(text)
	}
	var told strings.Builder
	b.eventually("the events are there", func() bool {
		told.WriteString(strings.Join(append(b.receive(events, good), b.receive(events, bad)...), ""))
		return strings.Contains(told.String(), good) && strings.Contains(told.String(), bad)
	})
	if !strings.Contains(stored.String(), q.arn) || !strings.Contains(stored.String(), good) || !strings.Contains(b.logged(), good) {
		t.Error("the tables or the logs were not looked into")
	}
	for _, secret := range []string{q.secretKey, wrong} {
		for place, text := range map[string]string{
			"an answer": answers.String(), "a log": b.logged(), "a table": stored.String(), "an event": told.String(),
		} {
			if strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))) {
				t.Errorf("%.6s… is in %s", secret, place)
			}
		}
	}
}
