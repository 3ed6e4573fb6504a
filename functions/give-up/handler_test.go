package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/relay"
)

// testBundle is the function on moto, with a trigger. It keeps what the function sends.
type testBundle struct {
	function
	t       *testing.T
	trigger trigger.Trigger

	letters []string
	events  []string
	refuse  error
}

func (b *testBundle) SendMessage(_ context.Context, input *sqs.SendMessageInput, _ ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	if b.refuse != nil {
		return nil, b.refuse
	}
	b.letters = append(b.letters, *input.MessageBody)
	return &sqs.SendMessageOutput{}, nil
}

func (b *testBundle) PutEvents(_ context.Context, input *eventbridge.PutEventsInput, _ ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	for _, entry := range input.Entries {
		b.events = append(b.events, *entry.DetailType+" "+*entry.Detail)
	}
	return &eventbridge.PutEventsOutput{}, nil
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	env, db := mototest.Environment(t, "give-up"), dynamodb.NewFromConfig(mototest.Config(t))
	b := &testBundle{t: t}
	b.function = function{
		triggers:    store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]},
		runs:        store.Runs{Client: db, Table: env["RUNS_TABLE"], Retention: 7 * 24 * time.Hour},
		now:         time.Now,
		bus:         lifecycle.Bus{Client: b, Name: env["EVENT_BUS"]},
		deadLetters: relay.DeadLetters{Client: b, URL: env["DEAD_LETTERS_URL"]},
	}
	containers := store.Containers{Client: db, Table: mototest.Environment(t, "sweep")["CONTAINERS_TABLE"]}
	on := container.Container{ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1}
	if err := containers.Create(t.Context(), on); err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"name":"n","container_id":%q,"cron_config":{"schedule":"@daily"}}`, on.ID)
	created, _, err := trigger.Create([]byte(body), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.triggers.Create(t.Context(), containers, created); err != nil {
		t.Fatal(err)
	}
	if err := b.triggers.MarkObserved(t.Context(), created, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	b.trigger = created
	return b
}

// occurrence is the input of dispatch-schedule for a minute.
func (b *testBundle) occurrence(minute string) string {
	return fmt.Sprintf(`{"trigger_id":%q,"container_id":%q,"scheduled_time":%q,"schedule":"@daily","timezone":"UTC"}`,
		b.trigger.ID, b.trigger.ContainerID, minute)
}

// run is the run of a minute.
func (b *testBundle) run(minute string) run.Run {
	b.t.Helper()
	due, err := trigger.ParseOccurrence([]byte(b.occurrence(minute)))
	if err != nil {
		b.t.Fatal(err)
	}
	return due.Run(b.trigger)
}

// record is Lambda's record of an invocation that it gave up.
func record(input, condition, message string) events.SQSMessage {
	return events.SQSMessage{Body: fmt.Sprintf(
		`{"version":"1.0","timestamp":"2026-11-23T10:04:00.000Z","requestContext":{"requestId":"r","functionArn":"f","condition":%q,"approximateInvokeCount":3},`+
			`"requestPayload":%s,"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":{"errorMessage":%q,"errorType":"errorString"}}`,
		condition, input, message)}
}

func (b *testBundle) give(message events.SQSMessage) (failed int) {
	b.t.Helper()
	b.letters, b.events = nil, nil
	message.MessageId = "m"
	answer, err := b.handle(b.t.Context(), events.SQSEvent{Records: []events.SQSMessage{message}})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(answer.BatchItemFailures)
}

func TestGiveUp_MakesAFailedRunOfEveryForm(t *testing.T) {
	t.Parallel()
	b := setup(t)
	text := func(value string) events.SQSMessageAttribute {
		return events.SQSMessageAttribute{StringValue: &value, DataType: "String"}
	}
	for what, test := range map[string]struct {
		minute  string
		message func(input string) events.SQSMessage
		reason  string
		owner   string // what the owner is told instead of the reason
		told    bool   // dispatch-schedule sent Trigger Run Failed
	}{
		"all deliveries failed": {"2026-11-23T10:00:00Z", func(input string) events.SQSMessage {
			return record(input, "RetriesExhausted", "the container answered 503")
		}, "the container answered 503", "", true},
		"the function died": {"2026-11-23T10:01:00Z", func(input string) events.SQSMessage {
			return record(input, "RetriesExhausted", "RequestId: r Error: Runtime exited")
		}, "RequestId: r Error: Runtime exited", "the service failed", false},
		"too old": {"2026-11-23T10:02:00Z", func(input string) events.SQSMessage {
			return record(input, "EventAgeExceeded", "")
		}, "it waited too long for a free run of the service", "", false},
		"by Scheduler": {"2026-11-23T10:03:00Z", func(input string) events.SQSMessage {
			return events.SQSMessage{Body: input, MessageAttributes: map[string]events.SQSMessageAttribute{
				errorCode: text("AccessDeniedException"), errorMessage: text("not authorized"),
			}}
		}, "EventBridge Scheduler could not invoke the service: AccessDeniedException: not authorized", "EventBridge Scheduler could not invoke the service", false},
		"by Scheduler without a reason": {"2026-11-23T10:04:00Z", func(input string) events.SQSMessage {
			return events.SQSMessage{Body: input}
		}, "EventBridge Scheduler could not invoke the service", "", false},
	} {
		if test.told {
			its := b.run(test.minute)
			its.StartedAt = time.Now()
			if _, err := b.runs.Claim(t.Context(), its, store.Claim{Holder: "h", Until: time.Now()}); err != nil {
				t.Fatal(err)
			}
			attempt := run.Attempt{StartedAt: time.Now(), HTTPStatus: 503, Reason: run.HTTPStatus, Error: test.reason}
			if err := b.runs.Record(t.Context(), its, "h", store.Report{State: run.Failed, Attempts: []run.Attempt{attempt}, At: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		input := b.occurrence(test.minute)
		if failed := b.give(test.message(input)); failed > 0 || len(b.letters) > 0 {
			t.Fatalf("%s: %d messages failed, the letters are %v", what, failed, b.letters)
		}
		found, err := b.triggers.Get(t.Context(), b.trigger.ID)
		if err != nil {
			t.Fatal(err)
		}
		given, err := b.runs.Get(t.Context(), b.run(test.minute).Key)
		if err != nil {
			t.Fatal(err)
		}
		if given.State != run.Failed || !given.Replayable() || given.Message != cmp.Or(test.owner, test.reason) || (given.Reason == run.NotStarted) == test.told || given.TerminatedAt.IsZero() {
			t.Errorf("%s: the run is %+v", what, given)
		}
		announced := "the occurrence of " + test.minute + " is given up: " + cmp.Or(test.owner, test.reason)
		switch {
		case test.told:
			if len(b.events) > 0 {
				t.Errorf("%s: sent a second event: %v", what, b.events)
			}
		case len(b.events) != 2 || !strings.HasPrefix(b.events[0], lifecycle.TriggerRunFailed+" ") || !strings.HasPrefix(b.events[1], lifecycle.InvocationFailed+" ") || !strings.Contains(b.events[0], announced):
			t.Errorf("%s: sent the events %v", what, b.events)
		case found.ErrorMessage != announced:
			t.Errorf("%s: the trigger says %q", what, found.ErrorMessage)
		}
	}
}

func TestGiveUp_MarksARunThatACallerAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	its, _, err := b.trigger.NewRun([]byte(`{}`), uuid.NewString(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.runs.Enqueue(t.Context(), its, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	input := fmt.Sprintf(`{"run_id":%q}`, its.ID())
	if failed := b.give(record(input, "EventAgeExceeded", "")); failed > 0 || len(b.letters) > 0 || len(b.events) > 0 {
		t.Errorf("%d failed, %v, %v", failed, b.letters, b.events)
	}
	got, err := b.runs.Get(t.Context(), its.Key)
	if err != nil || got.State != run.Failed || got.Reason != run.NotStarted || got.Message != "it waited too long for a free run of the service" || !reflect.DeepEqual(got.Request, its.Request) {
		t.Errorf("got %+v, %v", got, err)
	}
	if failed := b.give(record(strings.ReplaceAll(input, its.ID(), "x"), "EventAgeExceeded", "")); failed != 1 {
		t.Error("an event that is not kept leaves the queue")
	}
}

func TestGiveUp_LosesNothingThatItCannotReadOrSend(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if failed := b.give(events.SQSMessage{Body: "no occurrence"}); failed > 0 || len(b.letters) != 1 {
		t.Fatalf("%d messages failed, the letters are %v", failed, b.letters)
	}
	var letter relay.DeadLetter
	if err := json.Unmarshal([]byte(b.letters[0]), &letter); err != nil || string(letter.Payload) != "no occurrence" || letter.Reason == "" {
		t.Errorf("got %s, %v", b.letters[0], err)
	}
	b.refuse = errors.New("refused")
	if failed := b.give(events.SQSMessage{Body: "no occurrence"}); failed != 1 {
		t.Error("what is not kept leaves the queue")
	}
	b.refuse = nil
	kept := b.runs.Table
	b.runs.Table = "no-such-table"
	if failed := b.give(events.SQSMessage{Body: b.occurrence("2026-11-23T11:00:00Z")}); failed != 1 {
		t.Error("an occurrence without a run leaves the queue")
	}
	b.runs.Table = kept
	gone := strings.ReplaceAll(b.occurrence("2026-11-23T11:00:00Z"), b.trigger.ID, uuid.NewString())
	if failed := b.give(events.SQSMessage{Body: gone}); failed > 0 || len(b.letters) > 0 || len(b.events) > 0 {
		t.Errorf("of a trigger that is gone: %d failed, %v, %v", failed, b.letters, b.events)
	}
}
