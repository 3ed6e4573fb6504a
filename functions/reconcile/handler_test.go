package main

import (
	"context"
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
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/container"
	"containertriggers/shared/lifecycle"
	"containertriggers/shared/provision"
	"containertriggers/shared/provision/provisiontest"
	"containertriggers/shared/schedule"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

// testBundle is a reconcile function on moto, with a container to have triggers
// on.
type testBundle struct {
	function
	t         *testing.T
	db        *dynamodb.Client
	schedules *scheduler.Client
	group     string
	container container.Container
	// sources is the provisioner of SQS triggers, endpoint where their queues are.
	sources  provision.Queues
	endpoint string
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	b := newBundle(t, mototest.Config(t))
	b.container = container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1,
		Owner: container.Owner{OrganizationID: uuid.NewString(), ProjectID: uuid.NewString()},
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
	sources.Queues.Mappings.Patience, sources.Queues.Mappings.Pause = 10*time.Second, time.Millisecond
	return &testBundle{
		sources: sources.Queues, endpoint: endpoint,
		t: t, db: db, schedules: scheduler.NewFromConfig(cfg), group: env["SCHEDULE_GROUP"],
		function: newFunction(
			sources, table.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]}, table.Containers{Client: db, Table: env["CONTAINERS_TABLE"]},
			lifecycle.Bus{Client: eventbridge.NewFromConfig(cfg), Name: env["EVENT_BUS"]}, time.Now,
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

// follow runs the function on the record of the row as it is now, and tells
// whether it gave the record back.
func (b *testBundle) follow(records ...events.DynamoDBEventRecord) (failed int) {
	b.t.Helper()
	response, err := b.handle(context.Background(), events.DynamoDBEvent{Records: records})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(response.BatchItemFailures)
}

func (b *testBundle) followRow(id string) (failed int) {
	b.t.Helper()
	return b.follow(b.record(id, nil, b.image(b.triggers.Table, id)))
}

// world is what there is of a trigger: its row's state and its schedules.
func (b *testBundle) world(id string) string {
	b.t.Helper()
	var text []string
	found, err := b.triggers.Get(context.Background(), id)
	switch {
	case errors.Is(err, table.ErrNotFound):
		text = append(text, "no row")
	case err != nil:
		b.t.Fatal(err)
	default:
		text = append(text, fmt.Sprintf("%s %q settled %t", found.Status, found.ErrorMessage, found.Settled()))
	}
	page, err := b.schedules.ListSchedules(context.Background(), &scheduler.ListSchedulesInput{GroupName: &b.group, NamePrefix: &id})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, summary := range page.Schedules {
		s, err := b.schedules.GetSchedule(context.Background(), &scheduler.GetScheduleInput{GroupName: &b.group, Name: summary.Name})
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

func TestSchedulesFollowTheRow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(`"cron_config":{"schedule":"0 3 * * *","timezone":"Asia/Seoul"}`).ID
	b.expect(id, `creating "" settled false`)
	b.followRow(id)
	b.expect(id, `=cron(0 3 * * ? *) Asia/Seoul; ready "" settled true`)

	b.update(id, "{"+union+"}")
	b.followRow(id)
	b.expect(id, `.2=cron(0 0 ? * 2 *) Europe/Paris; =cron(0 0 1 * ? *) Europe/Paris; ready "" settled true`)

	b.update(id, `{"cron_config":{"schedule":"@hourly"}}`)
	b.followRow(id)
	b.expect(id, `=cron(0 * * * ? *) UTC; ready "" settled true`)

	b.update(id, `{"name":"cosmetic"}`)
	b.expect(id, `=cron(0 * * * ? *) UTC; ready "" settled false`)
	b.followRow(id)
	b.expect(id, `=cron(0 * * * ? *) UTC; ready "" settled true`)

	if _, err := b.triggers.MarkDeleting(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.followRow(id)
	b.expect(id, "no row")
}

func TestOldAndDoubledRecordsAreHarmless(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(`"cron_config":{"schedule":"0 3 * * *"}`).ID
	first := b.record(id, nil, b.image(b.triggers.Table, id))
	b.update(id, `{"cron_config":{"schedule":"0 4 * * *"}}`)
	second := b.record(id, first.Change.NewImage, b.image(b.triggers.Table, id))
	b.follow(first)
	b.expect(id, `=cron(0 4 * * ? *) UTC; ready "" settled true`)
	b.follow(second, first, first, second)
	b.expect(id, `=cron(0 4 * * ? *) UTC; ready "" settled true`)

	if _, err := b.triggers.MarkDeleting(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.followRow(id)
	b.follow(second, first)
	b.expect(id, "no row")
}

func TestWhatAWSRefusesIsToldAndHealsWithTheNextUpdate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(`"cron_config":{"schedule":"0 3 * * *"}`).ID
	_, cfg := guardtest.Start(t) // moto would take a schedule without a role
	broken := newBundle(t, cfg)
	roleless := broken.provisioners[trigger.SourceCron].(schedule.Schedules)
	roleless.RoleARN = ""
	broken.provisioners[trigger.SourceCron] = roleless
	if broken.followRow(id) != 0 {
		t.Error("a permanent error was given back to the stream")
	}
	failed := b.get(id)
	if failed.Status != trigger.Error || !strings.Contains(failed.ErrorMessage, "could not be set up") || strings.Contains(failed.ErrorMessage, "target") || !failed.Settled() {
		t.Errorf("got %s %q", failed.Status, failed.ErrorMessage)
	}
	b.update(id, `{"description":"again"}`)
	b.followRow(id)
	b.expect(id, `=cron(0 3 * * ? *) UTC; ready "" settled true`)
}

func TestContainerGoesAfterItsTriggers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := []string{b.create(union).ID, b.create(`"cron_config":{"schedule":"@daily"}`).ID}
	for _, id := range ids {
		b.followRow(id)
	}
	if _, err := b.containers.MarkDeleting(t.Context(), b.container.ID); err != nil {
		t.Fatal(err)
	}
	deleting := b.record(b.container.ID, nil, b.image(b.containers.Table, b.container.ID))
	deleting.EventSourceArn = "arn:aws:dynamodb:us-east-1:123456789012:table/" + b.containers.Table + "/stream/2026"
	if b.follow(deleting) != 1 {
		t.Error("the container's record was not given back while it had triggers")
	}
	for _, id := range ids {
		if got := b.get(id).Status; got != trigger.Deleting {
			t.Errorf("got status %s", got)
		}
		b.followRow(id)
		b.expect(id, "no row")
	}
	if b.follow(deleting) != 0 {
		t.Error("the container's record was given back without triggers")
	}
	if _, err := b.containers.Get(t.Context(), b.container.ID); !errors.Is(err, table.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}
