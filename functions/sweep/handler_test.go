package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/container"
	"containertriggers/shared/mapping"
	"containertriggers/shared/provision/provisiontest"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

// The tests here run one after another: a sweep deals with what it finds,
// whosever it is.

// testBundle is a sweep on moto, with a container to have triggers on.
type testBundle struct {
	function
	t  *testing.T
	on container.Container
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	cfg := mototest.Config(t)
	containers := table.Containers{Client: dynamodb.NewFromConfig(cfg), Table: mototest.Environment(t, "sweep")["CONTAINERS_TABLE"]}
	sources := provisiontest.Sources(t, cfg)
	sources.Queues.Mappings.Pause = time.Millisecond
	b := &testBundle{function: newFunction(sources, containers, "test", time.Now), t: t, on: container.Container{
		ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1,
	}}
	if err := containers.Create(t.Context(), b.on); err != nil {
		t.Fatal(err)
	}
	return b
}

// create makes a trigger that was last changed that long ago, and settles it
// unless the outcome is "".
func (b *testBundle) create(config string, age time.Duration, outcome trigger.Status) trigger.Trigger {
	b.t.Helper()
	body := fmt.Sprintf(`{"name":"n","container_id":%q,%s}`, b.on.ID, config)
	created, key, err := trigger.Create([]byte(body), uuid.NewString(), "fr-par", time.Now().Add(-age))
	if err != nil {
		b.t.Fatal(err)
	}
	if key != nil {
		sealed, err := b.sources.Queues.Sealer.Seal(b.t.Context(), trigger.Resource, created.ID, *key)
		if err != nil {
			b.t.Fatal(err)
		}
		created = created.WithSecret(sealed)
	}
	if err := b.triggers.Create(b.t.Context(), b.containers, created); err != nil {
		b.t.Fatal(err)
	}
	message := ""
	switch outcome {
	case "":
		return created
	case trigger.Error:
		message = "broken"
	}
	if err := b.triggers.Settle(b.t.Context(), created, message, time.Now().Add(-age)); err != nil {
		b.t.Fatal(err)
	}
	return created
}

const daily = `"cron_config":{"schedule":"@daily"}`

// ready makes a trigger that is ready, as reconcile does.
func (b *testBundle) ready(config string) trigger.Trigger {
	b.t.Helper()
	created := b.create(config, time.Hour, trigger.Ready)
	var err error
	switch created.Source() {
	case trigger.SourceCron:
		err = b.sources.Schedules.Apply(b.t.Context(), created)
	case trigger.SourceSQS:
		err = b.sources.Queues.Apply(b.t.Context(), created)
	default:
		err = b.triggers.SetRelay(b.t.Context(), created.ID, "0", created.Generation)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return created
}

func (b *testBundle) onQueue() (config, arn string) {
	b.t.Helper()
	name := uuid.NewString()
	created, err := sqs.NewFromConfig(mototest.Config(b.t)).CreateQueue(b.t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprintf(`"sqs_config":{"endpoint":%q,"queue_url":%q,"access_key_id":"local","secret_access_key":"s"}`,
		*mototest.Config(b.t).BaseEndpoint, *created.QueueUrl), "arn:aws:sqs:us-east-1:123456789012:" + name
}

// sweep runs the function, which starts no relay here.
func (b *testBundle) sweep() {
	b.t.Helper()
	f := b.function
	f.sources.Relayed.Shards = 0
	if err := f.handle(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *testBundle) reopened(t trigger.Trigger) bool {
	b.t.Helper()
	row, err := b.triggers.Get(b.t.Context(), t.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return !row.Settled()
}

func (b *testBundle) mappings(arn string) int {
	b.t.Helper()
	all, err := b.sources.Queues.Mappings.All(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	count := 0
	for _, m := range all {
		if m.QueueARN == arn {
			count++
		}
	}
	return count
}

func (b *testBundle) schedules(id string) int {
	b.t.Helper()
	page, err := b.sources.Schedules.Client.ListSchedules(b.t.Context(), &scheduler.ListSchedulesInput{GroupName: &b.sources.Schedules.Group, NamePrefix: &id})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(page.Schedules)
}

func TestWhatIsNotDoneIsOpenedAgain(t *testing.T) {
	b := setup(t)
	b.ready(daily)
	failed := b.create(daily, 0, trigger.Error)
	b.create(daily, 0, "")
	b.create(daily, time.Hour, "")

	records := func() int { return countRecords(t, b.triggers.Table) }
	before := records()
	b.sweep()
	if !b.reopened(failed) {
		t.Error("the failed one was not opened")
	}
	// The stuck one is told of by the stream as well, the fresh one is left to
	// reconcile.
	if got := records() - before; got != 2 {
		t.Errorf("%d triggers were opened, want the failed and the stuck one", got)
	}
}

func TestTheLongerATriggerHasFailedTheLongerItWaits(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, test := range []struct {
		status       trigger.Status
		since, tried time.Duration
		want         bool
	}{
		{trigger.Creating, time.Second, 0, false},
		{trigger.Creating, time.Minute, time.Second, false},
		{trigger.Creating, time.Minute, time.Minute, true},
		{trigger.Deleting, time.Hour, time.Minute, true},
		{trigger.Error, time.Second, time.Minute, true},
		{trigger.Error, 10 * time.Minute, 59 * time.Second, false},
		{trigger.Error, 10 * time.Minute, time.Minute, true},
		{trigger.Error, 100 * time.Hour, 9 * time.Minute, false},
		{trigger.Error, 100 * time.Hour, 10 * time.Minute, true},
	} {
		row := table.Unfinished{Trigger: trigger.Trigger{Status: test.status, UpdatedAt: now.Add(-test.since)}, ReopenedAt: now.Add(-test.tried)}
		if got := due(row, now); got != test.want {
			t.Errorf("%+v: got %t", test, got)
		}
	}
}

func TestSchedulesThatSomebodyChangedAreMadeAnew(t *testing.T) {
	b := setup(t)
	client, group := b.sources.Schedules.Client, &b.sources.Schedules.Group
	both := `"cron_config":{"schedule":"0 0 1 * 1"}`
	change := func(what string, edit func(*scheduler.UpdateScheduleInput)) func(id string) error {
		return func(id string) error {
			found, err := client.GetSchedule(t.Context(), &scheduler.GetScheduleInput{Name: &id, GroupName: group})
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			input := &scheduler.UpdateScheduleInput{
				Name: &id, GroupName: group, State: found.State, Target: found.Target, FlexibleTimeWindow: found.FlexibleTimeWindow,
				ScheduleExpression: found.ScheduleExpression, ScheduleExpressionTimezone: found.ScheduleExpressionTimezone,
			}
			edit(input)
			_, err = client.UpdateSchedule(t.Context(), input)
			return err
		}
	}
	for what, test := range map[string]struct {
		config string
		change func(id string) error
		want   bool
	}{
		"nothing": {both, func(string) error { return nil }, false},
		"deleted": {daily, func(id string) error { return b.sources.Schedules.Remove(t.Context(), trigger.Trigger{ID: id}) }, true},
		"one of two deleted": {both, func(id string) error {
			_, err := client.DeleteSchedule(t.Context(), &scheduler.DeleteScheduleInput{Name: aws.String(id + ".2"), GroupName: group})
			return err
		}, true},
		"one too many": {daily, func(id string) error {
			found, err := client.GetSchedule(t.Context(), &scheduler.GetScheduleInput{Name: &id, GroupName: group})
			if err != nil {
				return err
			}
			_, err = client.CreateSchedule(t.Context(), &scheduler.CreateScheduleInput{
				Name: aws.String(id + ".2"), GroupName: group, Target: found.Target, FlexibleTimeWindow: found.FlexibleTimeWindow, ScheduleExpression: found.ScheduleExpression,
			})
			return err
		}, true},
		"disabled":      {daily, change("disabling", func(i *scheduler.UpdateScheduleInput) { i.State = schedulertypes.ScheduleStateDisabled }), true},
		"another time":  {daily, change("moving", func(i *scheduler.UpdateScheduleInput) { i.ScheduleExpression = aws.String("cron(1 0 * * ? *)") }), true},
		"another zone":  {daily, change("moving", func(i *scheduler.UpdateScheduleInput) { i.ScheduleExpressionTimezone = aws.String("Asia/Seoul") }), true},
		"another input": {daily, change("changing", func(i *scheduler.UpdateScheduleInput) { i.Target.Input = aws.String("{}") }), true},
		"another function": {daily, change("changing", func(i *scheduler.UpdateScheduleInput) {
			i.Target.Arn = aws.String("arn:aws:lambda:us-east-1:123456789012:function:f")
		}), true},
	} {
		tr := b.ready(test.config)
		if err := test.change(tr.ID); err != nil {
			t.Fatal(err)
		}
		b.sweep()
		if got := b.reopened(tr); got != test.want {
			t.Errorf("%s: reopened %t", what, got)
		}
	}
}

func TestMappingsThatSomebodyChangedAreMadeAnew(t *testing.T) {
	b := setup(t)
	functions := awslambda.NewFromConfig(mototest.Config(t))
	only := func(arn string) mapping.Mapped {
		all, err := b.sources.Queues.Mappings.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.QueueARN == arn {
				return m
			}
		}
		t.Fatal("there is no mapping")
		return mapping.Mapped{}
	}
	for what, test := range map[string]struct {
		change func(arn, id string) error
		want   bool
	}{
		"nothing": {func(string, string) error { return nil }, false},
		"deleted": {func(arn, _ string) error { return b.sources.Queues.Mappings.Delete(t.Context(), only(arn)) }, true},
		"another batch size": {func(arn, _ string) error {
			_, err := functions.UpdateEventSourceMapping(t.Context(), &awslambda.UpdateEventSourceMappingInput{UUID: aws.String(only(arn).ID), BatchSize: aws.Int32(1)})
			return err
		}, true},
		"without its claim": {func(arn, id string) error {
			_, err := b.claims.Release(t.Context(), arn, id)
			return err
		}, true},
	} {
		config, arn := b.onQueue()
		tr := b.ready(config)
		if err := test.change(arn, tr.ID); err != nil {
			t.Fatal(err)
		}
		b.sweep()
		if got := b.reopened(tr); got != test.want {
			t.Errorf("%s: reopened %t", what, got)
		}
		if what == "without its claim" && b.mappings(arn) != 0 {
			t.Error("a mapping without a claim was left")
		}
	}
}

func TestTriggersMoveToTheShardsThereAre(t *testing.T) {
	b := setup(t)
	b.sources.Relayed.Shards = 1
	here := b.ready(`"nats_config":{"server_urls":["nats://n"],"subject":"s"}`)
	b.sweepWithoutRelays(1)
	if b.reopened(here) {
		t.Error("one that is where it should be was reopened")
	}
	if err := b.triggers.SetRelay(t.Context(), here.ID, "7", here.Generation); err != nil {
		t.Fatal(err)
	}
	b.sweepWithoutRelays(1)
	if !b.reopened(here) {
		t.Error("one on a shard that is not was not reopened")
	}
}

// sweepWithoutRelays walks as a run does, with so many shards.
func (b *testBundle) sweepWithoutRelays(shards int) {
	b.t.Helper()
	s := &sweep{function: b.function, found: map[string]int{}}
	s.sources.Relayed.Shards = shards
	for _, w := range s.walks() {
		if err := s.walk(b.t.Context(), w); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestWhatIsLeftOfTriggersThatAreGoneIsRemoved(t *testing.T) {
	b := setup(t)
	gone := func(tr trigger.Trigger) {
		t.Helper()
		if _, err := b.triggers.MarkDeleting(t.Context(), tr.ID); err != nil {
			t.Fatal(err)
		}
		if err := b.triggers.Remove(t.Context(), tr.ID); err != nil {
			t.Fatal(err)
		}
	}
	scheduled := b.ready(`"cron_config":{"schedule":"0 0 1 * 1"}`)
	config, arn := b.onQueue()
	queued := b.ready(config)
	waiting := b.create(config, 0, trigger.Ready)
	if err := b.sources.Queues.Apply(t.Context(), waiting); err == nil {
		t.Fatal("a queue has two triggers")
	}
	stays, staysOn := b.ready(daily), b.ready(`"cron_config":{"schedule":"0 0 1 * 1"}`)
	unclaimed, mappedARN := b.onQueue()
	b.ready(unclaimed)
	gone(scheduled)
	gone(queued)
	if b.schedules(scheduled.ID) != 2 || b.mappings(arn) != 1 {
		t.Fatalf("there is nothing to sweep: %d schedules, %d mappings", b.schedules(scheduled.ID), b.mappings(arn))
	}
	b.sweep()
	if b.schedules(scheduled.ID) != 0 || b.mappings(arn) != 0 {
		t.Errorf("%d schedules and %d mappings were left", b.schedules(scheduled.ID), b.mappings(arn))
	}
	if _, err := b.claims.Queue(t.Context(), arn); !errors.Is(err, table.ErrNotFound) {
		t.Errorf("the claim was left: %v", err)
	}
	if held, err := b.claims.Held(t.Context(), queued.ID); err != nil || len(held) > 0 {
		t.Errorf("it still holds %v, %v", held, err)
	}
	if !b.reopened(waiting) {
		t.Error("who waited for the queue was not told")
	}
	if b.schedules(stays.ID) != 1 || b.schedules(staysOn.ID) != 2 || b.mappings(mappedARN) != 1 {
		t.Error("what others have was swept, too")
	}
}

func TestTriggersWithoutAContainerAreDeleted(t *testing.T) {
	b := setup(t)
	tr := b.ready(daily)
	if _, err := b.containers.MarkDeleting(t.Context(), b.on.ID); err != nil {
		t.Fatal(err)
	}
	before := countRecords(t, b.containers.Table)
	b.sweep()
	if countRecords(t, b.containers.Table) == before {
		t.Error("the container that is being deleted was not opened again")
	}
	if err := b.containers.Remove(t.Context(), b.on.ID); err != nil {
		t.Fatal(err)
	}
	b.sweep()
	if got, err := b.triggers.Get(t.Context(), tr.ID); err != nil || got.Status != trigger.Deleting {
		t.Errorf("got %s, %v", got.Status, err)
	}
}

// A table that is larger than what one run may look at.
func TestARunTakesUpTheWalkWhereTheLastOneLeftIt(t *testing.T) {
	b := setup(t)
	var seen []string
	s := &sweep{function: b.function, found: map[string]int{}}
	w := walk{"test " + uuid.NewString(), 2, func(_ context.Context, after string) (string, error) {
		seen = append(seen, after)
		n, _ := strconv.Atoi(after)
		if n == 4 {
			return "", nil
		}
		return strconv.Itoa(n + 1), nil
	}}
	for range 4 {
		if err := s.walk(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(seen), "[ 1 2 3 4  1]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	broken := errors.New("the token has expired")
	w.page = func(context.Context, string) (string, error) { return "", broken }
	if err := s.walk(t.Context(), w); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if after, err := b.claims.Bookmark(t.Context(), "sweep/"+w.name); err != nil || after != "" {
		t.Errorf("a walk that cannot be gone on with is not begun anew: %q, %v", after, err)
	}
}

// countRecords counts what the table's stream has told so far.
func countRecords(t *testing.T, tableName string) (count int) {
	t.Helper()
	cfg := mototest.Config(t)
	described, err := dynamodb.NewFromConfig(cfg).DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &tableName})
	if err != nil {
		t.Fatal(err)
	}
	client, arn := dynamodbstreams.NewFromConfig(cfg), described.Table.LatestStreamArn
	stream, err := client.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: arn})
	if err != nil {
		t.Fatal(err)
	}
	iterator, err := client.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{
		StreamArn: arn, ShardId: stream.StreamDescription.Shards[0].ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := client.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: iterator.ShardIterator})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Records)
}
