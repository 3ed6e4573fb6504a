package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	schedulerapi "github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard"
	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/infra/local/provisiontest"
	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/scheduler"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/cron"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/source"
)

// testBundle is a reconcile function on moto, with a container to have triggers
// on.
type testBundle struct {
	function
	t         *testing.T
	db        *dynamodb.Client
	schedules *schedulerapi.Client
	group     string
	container container.Container
	// sources is the reconciler of SQS triggers, endpoint where their queues are.
	sources  source.Queues
	endpoint string
	// messages reads the test's own queue of mappings to change.
	messages *sqs.Client
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	return setupOn(t, guarded(t))
}

// guarded is an AWS that refuses what AWS refuses, but for rates.
func guarded(t *testing.T) aws.Config {
	t.Helper()
	_, cfg := guardtest.Start(t)
	return guard.Uncounted(cfg)
}

func setupOn(t *testing.T, cfg aws.Config) *testBundle {
	t.Helper()
	b := newBundle(t, cfg)
	b.container = container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1,
		Owner: auth.Owner{OrganizationID: uuid.NewString(), ProjectID: uuid.NewString()},
	}
	if err := b.containers.Create(t.Context(), b.container); err != nil {
		t.Fatal(err)
	}
	return b
}

// newBundle makes the function as main does, with an AWS of the test's choice.
func newBundle(t *testing.T, cfg aws.Config) *testBundle {
	t.Helper()
	env := mototest.Environment(t, "reconcile")
	endpoint := *mototest.Config(t).BaseEndpoint
	db := dynamodb.NewFromConfig(cfg)
	sources := provisiontest.Sources(t, cfg)
	messages := sqs.NewFromConfig(mototest.Config(t))
	changed, err := messages.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("changes-" + uuid.NewString())})
	if err != nil {
		t.Fatal(err)
	}
	return &testBundle{
		sources: sources.Queues, endpoint: endpoint, messages: messages,
		t: t, db: db, schedules: schedulerapi.NewFromConfig(cfg), group: env["SCHEDULE_GROUP"],
		function: newFunction(
			sources, store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]}, store.Containers{Client: db, Table: env["CONTAINERS_TABLE"]},
			store.Namespaces{Client: db, Table: env["NAMESPACES_TABLE"]},
			lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: env["EVENT_BUS"]},
			changes{client: sqs.NewFromConfig(cfg), url: *changed.QueueUrl, pace: &eventsource.Pace{}}, time.Now,
		),
	}
}

// create writes a trigger as create-trigger does.
func (b *testBundle) create(config string) trigger.Trigger {
	b.t.Helper()
	body := fmt.Sprintf(`{"name":"n","container_id":%q,%s}`, b.container.ID, config)
	created, _, err := trigger.Create([]byte(body), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	created.Owner = b.container.Owner
	if err := b.triggers.Create(b.t.Context(), b.containers, created); err != nil {
		b.t.Fatal(err)
	}
	return created
}

// update writes a change as update-trigger does.
func (b *testBundle) update(id, body string) trigger.Trigger {
	b.t.Helper()
	current := b.get(id)
	updated, _, err := current.Update([]byte(body), time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.triggers.Update(b.t.Context(), current, updated); err != nil {
		b.t.Fatal(err)
	}
	return updated
}

func (b *testBundle) get(id string) trigger.Trigger {
	b.t.Helper()
	found, err := b.triggers.Get(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

// image is a trigger's row as a stream record holds it.
func (b *testBundle) image(tableName, id string) map[string]events.DynamoDBAttributeValue {
	b.t.Helper()
	row, err := b.db.GetItem(context.Background(), &dynamodb.GetItemInput{
		TableName: &tableName, Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if row.Item == nil {
		return nil
	}
	return convert(row.Item)
}

// convert turns an item into what Lambda's events hold.
func convert(item map[string]types.AttributeValue) map[string]events.DynamoDBAttributeValue {
	converted := map[string]events.DynamoDBAttributeValue{}
	for name, value := range item {
		switch v := value.(type) {
		case *types.AttributeValueMemberS:
			converted[name] = events.NewStringAttribute(v.Value)
		case *types.AttributeValueMemberN:
			converted[name] = events.NewNumberAttribute(v.Value)
		case *types.AttributeValueMemberM:
			converted[name] = events.NewMapAttribute(convert(v.Value))
		case *types.AttributeValueMemberL:
			converted[name] = events.NewListAttribute(nil)
		default:
			converted[name] = events.NewNullAttribute()
		}
	}
	return converted
}

// record is the stream record of a change that left the row with that image.
func (b *testBundle) record(id string, before, after map[string]events.DynamoDBAttributeValue) events.DynamoDBEventRecord {
	return events.DynamoDBEventRecord{
		EventSourceArn: "arn:aws:dynamodb:us-east-1:123456789012:table/" + b.triggers.Table + "/stream/2026",
		Change: events.DynamoDBStreamRecord{
			Keys:     map[string]events.DynamoDBAttributeValue{"id": events.NewStringAttribute(id)},
			OldImage: before, NewImage: after, SequenceNumber: uuid.NewString(),
		},
	}
}

// handleRecords runs the function on the record of the row as it is now, and tells
// whether it gave the record back.
func (b *testBundle) handleRecords(records ...events.DynamoDBEventRecord) (failed int) {
	b.t.Helper()
	response, err := b.function.handleRecords(context.Background(), events.DynamoDBEvent{Records: records})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(response.BatchItemFailures)
}

// handleRow does so, and then changes the mappings that the record queues.
func (b *testBundle) handleRow(id string) (failed int) {
	b.t.Helper()
	failed = b.handleRecords(b.record(id, nil, b.image(b.triggers.Table, id)))
	return failed + b.handleMessages()
}

// handleMessages runs the function on the messages in the queue of mappings to change, and
// tells how many of them it gave back. These are in the queue again at once.
func (b *testBundle) handleMessages() (failed int) {
	b.t.Helper()
	ctx := context.Background()
	received, err := b.messages.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &b.changes.url, MaxNumberOfMessages: 10})
	if err != nil {
		b.t.Fatal(err)
	}
	var batch events.SQSEvent
	receipts := map[string]*string{}
	for _, message := range received.Messages {
		batch.Records = append(batch.Records, events.SQSMessage{
			MessageId: *message.MessageId, ReceiptHandle: *message.ReceiptHandle, Body: *message.Body, EventSource: "aws:sqs",
		})
		receipts[*message.MessageId] = message.ReceiptHandle
	}
	event, err := json.Marshal(batch)
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := b.handle(ctx, event)
	if err != nil {
		b.t.Fatal(err)
	}
	if response, ok := answer.(events.SQSEventResponse); ok {
		for _, failure := range response.BatchItemFailures {
			failed++
			_, err := b.messages.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &b.changes.url, ReceiptHandle: receipts[failure.ItemIdentifier]})
			if err != nil {
				b.t.Fatal(err)
			}
			delete(receipts, failure.ItemIdentifier)
		}
	}
	for _, receipt := range receipts {
		if _, err := b.messages.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &b.changes.url, ReceiptHandle: receipt}); err != nil {
			b.t.Fatal(err)
		}
	}
	return failed
}

// world is what there is of a trigger: its row's state and its schedules.
func (b *testBundle) world(id string) string {
	b.t.Helper()
	var text []string
	found, err := b.triggers.Get(context.Background(), id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		text = append(text, "no row")
	case err != nil:
		b.t.Fatal(err)
	default:
		text = append(text, fmt.Sprintf("%s %q settled %t", found.Status, found.ErrorMessage, found.Settled()))
	}
	page, err := b.schedules.ListSchedules(context.Background(), &schedulerapi.ListSchedulesInput{GroupName: &b.group, NamePrefix: &id})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, summary := range page.Schedules {
		s, err := b.schedules.GetSchedule(context.Background(), &schedulerapi.GetScheduleInput{GroupName: &b.group, Name: summary.Name})
		if err != nil {
			b.t.Fatal(err)
		}
		text = append(text, strings.TrimPrefix(*s.Name, id)+"="+*s.ScheduleExpression+" "+*s.ScheduleExpressionTimezone)
	}
	text = append(text, b.heldQueues(id)...)
	slices.Sort(text)
	return strings.Join(text, "; ")
}

func (b *testBundle) expect(id, want string) {
	b.t.Helper()
	if got := b.world(id); got != want {
		b.t.Errorf("got  %s\nwant %s", got, want)
	}
}

const union = `"cron_config":{"schedule":"0 0 1 * 1","timezone":"Europe/Paris"}`

func TestReconcile_KeepsTheSchedulesInStepWithTheRow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(`"cron_config":{"schedule":"0 3 * * *","timezone":"Asia/Seoul"}`).ID
	b.expect(id, `creating "" settled false`)
	b.handleRow(id)
	b.expect(id, `=cron(0 3 * * ? *) Asia/Seoul; ready "" settled true`)

	b.update(id, "{"+union+"}")
	b.handleRow(id)
	b.expect(id, `.2=cron(0 0 ? * 2 *) Europe/Paris; =cron(0 0 1 * ? *) Europe/Paris; ready "" settled true`)

	b.update(id, `{"cron_config":{"schedule":"0 0 */2 * 1"}}`)
	b.handleRow(id)
	b.expect(id, `=cron(0 0 ? * 2 *) Europe/Paris; ready "" settled true`)

	b.update(id, `{"cron_config":{"schedule":"@hourly"}}`)
	b.handleRow(id)
	b.expect(id, `=cron(0 * * * ? *) UTC; ready "" settled true`)

	b.update(id, `{"name":"cosmetic"}`)
	b.expect(id, `=cron(0 * * * ? *) UTC; ready "" settled false`)
	b.handleRow(id)
	b.expect(id, `=cron(0 * * * ? *) UTC; ready "" settled true`)

	if _, err := b.triggers.MarkDeleting(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.handleRow(id)
	b.expect(id, "no row")
}

// Both halves of one fact: what reconcile puts into a schedule's input is what
// dispatch-schedule reads.
func TestReconcile_SchedulesSendTheCronConfigTheyWereMadeFrom(t *testing.T) {
	t.Parallel()
	b := setup(t)
	schedules := b.reconcilers[trigger.SourceCron].(scheduler.Schedules)
	for config, want := range map[string]trigger.Occurrence{
		`{"schedule":"0 3 * * *","timezone":"Asia/Seoul"}`: {Schedule: "0 3 * * *", Timezone: "Asia/Seoul"},
		`{"schedule":"\t@hourly "}`:                        {Schedule: "\t@hourly ", Timezone: "UTC"},
		`{"schedule":"0 0 */2 * MON"}`:                     {Schedule: "0 0 */2 * MON", Timezone: "UTC", Filter: cron.FilterDayOfMonth},
		`{"schedule":"0 0 1 * */2"}`:                       {Schedule: "0 0 1 * */2", Timezone: "UTC", Filter: cron.FilterDayOfWeek},
	} {
		created := b.create(`"cron_config":` + config)
		b.handleRow(created.ID)
		found, err := schedules.Client.GetSchedule(t.Context(), &schedulerapi.GetScheduleInput{Name: &created.ID, GroupName: &schedules.Group})
		if err != nil {
			t.Fatal(err)
		}
		event := strings.ReplaceAll(*found.Target.Input, "<aws.scheduler.scheduled-time>", "2026-11-23T10:00:00Z")
		got, err := trigger.ParseOccurrence([]byte(event))
		want.TriggerID, want.ContainerID, want.ScheduledTime = created.ID, created.ContainerID, time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", config, got, err)
		}
		if !got.Current(b.get(created.ID)) {
			t.Errorf("%s: the schedule is not the trigger's", config)
		}
	}
}

// zoneless is a Scheduler that does not know a zone.
type zoneless struct{ scheduler.API }

func (zoneless) UpdateSchedule(context.Context, *schedulerapi.UpdateScheduleInput, ...func(*schedulerapi.Options)) (*schedulerapi.UpdateScheduleOutput, error) {
	return nil, &schedulertypes.ValidationException{Message: aws.String("Invalid Schedule Expression Timezone Asia/Seoul.")}
}

func TestReconcile_NamesTheCronSettingThatCannotBeApplied(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(`"cron_config":{"schedule":"0 3 * * *"}`).ID
	b.handleRow(id)
	known := b.reconcilers[trigger.SourceCron].(scheduler.Schedules)
	unknowing := known
	unknowing.Client = zoneless{known.Client}
	b.reconcilers[trigger.SourceCron] = unknowing
	b.update(id, `{"cron_config":{"timezone":"Asia/Seoul"}}`)
	b.handleRow(id)
	b.expect(id, `error "cron_config is not valid: timezone: EventBridge Scheduler does not know Asia/Seoul" settled true`)

	b.reconcilers[trigger.SourceCron] = known
	b.update(id, `{"cron_config":{"timezone":"UTC"}}`)
	b.handleRow(id)
	b.expect(id, `=cron(0 3 * * ? *) UTC; ready "" settled true`)

	// An earlier version of the service accepted this zone.
	t.Run("of an earlier version", func(t *testing.T) {
		row := b.get(id)
		config := *row.Cron
		config.Timezone = "America//New_York"
		row.Cron, row.Status, row.Generation = &config, trigger.Updating, row.Generation+1
		if _, err := b.triggers.Update(t.Context(), b.get(id), row); err != nil {
			t.Fatal(err)
		}
		b.handleRow(id)
		b.expect(id, `error "cron_config is not valid: timezone: must be a name of the tz database, such as Europe/Paris" settled true`)
	})
}

func TestReconcile_IgnoresOldAndRepeatedRecords(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(`"cron_config":{"schedule":"0 3 * * *"}`).ID
	first := b.record(id, nil, b.image(b.triggers.Table, id))
	b.update(id, `{"cron_config":{"schedule":"0 4 * * *"}}`)
	second := b.record(id, first.Change.NewImage, b.image(b.triggers.Table, id))
	b.handleRecords(first)
	b.expect(id, `=cron(0 4 * * ? *) UTC; ready "" settled true`)
	b.handleRecords(second, first, first, second)
	b.expect(id, `=cron(0 4 * * ? *) UTC; ready "" settled true`)

	if _, err := b.triggers.MarkDeleting(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.handleRow(id)
	b.handleRecords(second, first)
	b.expect(id, "no row")
}

func TestReconcile_ReportsARefusalOfAWSAndHealsWithTheNextUpdate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(`"cron_config":{"schedule":"0 3 * * *"}`).ID
	_, cfg := guardtest.Start(t) // moto would take a schedule without a role
	broken := newBundle(t, cfg)
	roleless := broken.reconcilers[trigger.SourceCron].(scheduler.Schedules)
	roleless.RoleARN = ""
	broken.reconcilers[trigger.SourceCron] = roleless
	if broken.handleRow(id) != 0 {
		t.Error("a permanent error was given back to the stream")
	}
	failed := b.get(id)
	if failed.Status != trigger.Error || !strings.Contains(failed.ErrorMessage, "could not be set up") || strings.Contains(failed.ErrorMessage, "target") || !failed.Settled() {
		t.Errorf("got %s %q", failed.Status, failed.ErrorMessage)
	}
	b.update(id, `{"description":"again"}`)
	b.handleRow(id)
	b.expect(id, `=cron(0 3 * * ? *) UTC; ready "" settled true`)
}
