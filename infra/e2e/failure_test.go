package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"
)

func far() time.Time  { return time.Now().Add(time.Hour) }
func past() time.Time { return time.Now().Add(-time.Hour) }

// receive gives the messages of a queue that are about a trigger, and leaves the
// others to their tests.
func (b *testBundle) receive(queueURL, triggerID string) []string {
	b.t.Helper()
	client := sqs.NewFromConfig(b.AWSConfig())
	answer, err := client.ReceiveMessage(b.t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &queueURL, MaxNumberOfMessages: 10, VisibilityTimeout: 1,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	var bodies []string
	for _, message := range answer.Messages {
		if strings.Contains(*message.Body, triggerID) {
			bodies = append(bodies, *message.Body)
			if _, err := client.DeleteMessage(b.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &queueURL, ReceiptHandle: message.ReceiptHandle}); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	return bodies
}

// lifecycleEvents makes a queue that gets the events of the tenant's triggers.
func (b *testBundle) lifecycleEvents() (queueURL string) {
	b.t.Helper()
	queues, bus := sqs.NewFromConfig(b.AWSConfig()), eventbridge.NewFromConfig(b.AWSConfig())
	name := "events-" + uuid.NewString()
	queue, err := queues.CreateQueue(b.t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		b.t.Fatal(err)
	}
	busName := b.Function("reconcile").Environment["EVENT_BUS"]
	pattern := `{"source":["container-triggers"],"detail":{"organization_id":["` + b.organization + `"]}}`
	if _, err := bus.PutRule(b.t.Context(), &eventbridge.PutRuleInput{Name: &name, EventBusName: &busName, EventPattern: &pattern}); err != nil {
		b.t.Fatal(err)
	}
	_, err = bus.PutTargets(b.t.Context(), &eventbridge.PutTargetsInput{
		Rule: &name, EventBusName: &busName,
		Targets: []ebtypes.Target{{Id: aws.String("queue"), Arn: aws.String("arn:aws:sqs:us-east-1:" + b.Account() + ":" + name)}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { // for moto takes its time with each rule for each event
		ctx := context.Background()
		if _, err := bus.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: &name, EventBusName: &busName, Ids: []string{"queue"}}); err != nil {
			b.t.Error(err)
		}
		if _, err := bus.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: &name, EventBusName: &busName}); err != nil {
			b.t.Error(err)
		}
	})
	return *queue.QueueUrl
}

func TestCronTrigger_FailingCallIsRetriedRecordedAndReported(t *testing.T) {
	t.Parallel()
	b := setup(t)
	events := b.lifecycleEvents()
	b.setAnswer(http.StatusServiceUnavailable)
	failing := b.createCron("failing", "* * * * *", "UTC")
	b.wait(failing.ID)
	b.nextMinute()

	var failed map[string]any
	b.eventually("the occurrence is a failed run", func() bool {
		for _, one := range b.runs(url.Values{}) {
			if one["trigger_id"] == failing.ID {
				failed = one
			}
		}
		return failed != nil
	})
	ids := map[string]int{}
	for len(b.calls) > 0 {
		c := <-b.calls
		ids[c.header.Get("Ce-Id")]++
	}
	// Three deliveries of three attempts.
	if id := failed["event_id"].(string); ids[id] != 9 || failed["attempts"] != 9.0 || failed["error_message"] != "the container answered 503 Service Unavailable" || failed["replayable"] != true {
		t.Errorf("got the calls %v, and the run %v", ids, failed)
	}
	now, err := b.api.GetTrigger(&container.GetTriggerRequest{TriggerID: failing.ID})
	if err != nil || now.Status != container.TriggerStatusReady || *now.ErrorMessage != "the container answered 503 Service Unavailable" {
		t.Errorf("got %+v, %v", now, err)
	}

	// The run can be replayed, and the next success clears the message.
	b.setAnswer(http.StatusNoContent)
	replayed := b.do(http.MethodPost, regional+"/trigger-runs/"+failed["id"].(string)+"/replay", `{}`, nil)
	if replayed.body["state"] != "succeeded" {
		t.Errorf("replaying: %d %s", replayed.status, replayed.text)
	}
	b.nextMinute()
	b.eventually("the error message is cleared", func() bool {
		now, err := b.api.GetTrigger(&container.GetTriggerRequest{TriggerID: failing.ID})
		return err == nil && *now.ErrorMessage == ""
	})
	queue, err := sqs.NewFromConfig(b.AWSConfig()).GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String(deadLetterQueue(b))})
	if err != nil {
		t.Fatal(err)
	}
	if letters := b.receive(*queue.QueueUrl, failing.ID); len(letters) > 0 {
		t.Errorf("the dead-letter queue, which is for the operator, has %v", letters)
	}

	if _, err := b.api.DeleteTrigger(&container.DeleteTriggerRequest{TriggerID: failing.ID}); err != nil {
		t.Fatal(err)
	}
	wanted := []string{"Trigger Run Failed", "Invocation Failed", "Trigger Deleted", "Trigger Ready", "create by SCW", "delete by SCW"}
	seen := map[string]bool{}
	b.eventually("the lifecycle events arrive", func() bool {
		for _, body := range b.receive(events, failing.ID) {
			var event struct {
				DetailType string `json:"detail-type"`
				Detail     struct {
					Operation string
					AccessKey string `json:"access_key"`
				}
			}
			if err := json.Unmarshal([]byte(body), &event); err != nil {
				t.Fatal(err)
			}
			seen[event.DetailType] = true
			if event.DetailType == "Trigger Changed" && len(event.Detail.AccessKey) == len("SCW")+17 {
				seen[event.Detail.Operation+" by "+event.Detail.AccessKey[:3]] = true
			}
		}
		return !slices.ContainsFunc(wanted, func(name string) bool { return !seen[name] })
	})
}

// deadLetterQueue is the name of the queue of invocations that failed for good.
func deadLetterQueue(b *testBundle) string {
	arn := b.Function("relay").Environment["DEAD_LETTERS_ARN"]
	return arn[strings.LastIndex(arn, ":")+1:]
}

func TestSecrets_AppearInNoAnswerLogOrRow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	events := b.lifecycleEvents()
	token, key, credentials, variable := "token-"+uuid.NewString(), "key-"+uuid.NewString(), "creds-"+uuid.NewString(), "variable-"+uuid.NewString()
	var answers strings.Builder
	note := func(r response) response {
		answers.WriteString(r.text)
		return r
	}

	private := note(b.do(http.MethodPatch, regional+"/containers/"+b.containerID, `{"privacy":"private","invoke_token":"`+token+`","secret_environment_variables":{"S":"`+variable+`"}}`, nil))
	note(b.do(http.MethodPatch, regional+"/containers/"+b.containerID, `{"port":0,"secret_environment_variables":{"S":"`+variable+`"}}`, nil))
	if private.status != http.StatusOK || private.body["privacy"] != "private" {
		t.Fatalf("got %d %s", private.status, private.text)
	}
	cron := b.createCron("private", "* * * * *", "UTC")
	b.wait(cron.ID)
	b.nextMinute()
	if c := b.nextCall(); c.header.Get("X-Auth-Token") != token {
		t.Errorf("the private container did not get its token")
	}
	queue := note(b.do(http.MethodPost, regional+"/triggers", fmt.Sprintf(`{"name":"q","container_id":%q,"sqs_config":{
		"endpoint":"http://127.0.0.1:1","access_key_id":"AK","secret_access_key":%q,"queue_url":"http://127.0.0.1:1/1/q"}}`, b.containerID, key), nil))
	subject := note(b.do(http.MethodPost, regional+"/triggers", fmt.Sprintf(`{"name":"n","container_id":%q,"nats_config":{
		"server_urls":["nats://127.0.0.1:1"],"subject":"s","credentials_file_content":%q}}`, b.containerID, credentials), nil))
	for _, created := range []response{queue, subject} {
		if created.status != http.StatusOK {
			t.Fatalf("got %d %s", created.status, created.text)
		}
		id := created.body["id"].(string)
		note(b.do(http.MethodGet, regional+"/triggers/"+id, "", nil))
		note(b.do(http.MethodPatch, regional+"/triggers/"+id, `{"name":5,"sqs_config":{"secret_access_key":"`+key+`","endpoint":"x"},"nats_config":{"credentials_file_content":"`+credentials+`","subject":" "}}`, nil))
		note(b.do(http.MethodDelete, regional+"/triggers/"+id, "", nil))
	}
	note(b.do(http.MethodGet, regional+"/triggers", "", nil))
	note(b.do(http.MethodGet, regional+"/containers", "", nil))

	var stored strings.Builder
	db := dynamodb.NewFromConfig(b.AWSConfig())
	for _, table := range []string{"TRIGGERS_TABLE", "CONTAINERS_TABLE", "RUNS_TABLE"} {
		name := b.Function("dispatch-schedule").Environment[table]
		page, err := db.Scan(t.Context(), &dynamodb.ScanInput{TableName: &name})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(page.Items)
		if err != nil {
			t.Fatal(err)
		}
		stored.Write(text)
	}
	told := strings.Join(b.receive(events, cron.ID), "")
	for _, secret := range []string{token, key, credentials, variable, b.secretKey} {
		for place, text := range map[string]string{
			"an answer": answers.String(), "a log": b.logged(), "a table": stored.String(), "an event": told,
		} {
			if strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))) {
				t.Errorf("%.6s… is in %s", secret, place)
			}
		}
	}
	if !strings.Contains(stored.String(), b.containerID) {
		t.Error("the tables were not looked into")
	}
}
