package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/infra/local/provisiontest"
	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/namespace"
	"containertriggers/shared/domain/trigger"
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
	containers := store.Containers{Client: dynamodb.NewFromConfig(cfg), Table: mototest.Environment(t, "sweep")["CONTAINERS_TABLE"]}
	sources := provisiontest.Sources(t, cfg)
	namespaces := store.Namespaces{Client: containers.Client, Table: mototest.Environment(t, "sweep")["NAMESPACES_TABLE"]}
	b := &testBundle{function: newFunction(sources, containers, namespaces, "test", 1000, time.Now), t: t, on: container.Container{
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
	if err := b.triggers.MarkObserved(b.t.Context(), created, message, time.Now().Add(-age)); err != nil {
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
	f.sources.Relay.Shards = 0
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

func TestSweep_RequeuesFailedAndStuckTriggers(t *testing.T) {
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

func TestSweep_LeavesATriggerThatWasDeletedJustNowToReconcile(t *testing.T) {
	b := setup(t)
	tr := b.create(daily, time.Hour, trigger.Ready) // long unchanged
	if _, err := b.triggers.MarkDeleting(t.Context(), tr.ID); err != nil {
		t.Fatal(err)
	}
	for after := ""; ; {
		page, next, err := b.triggers.Unfinished(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(page, func(u store.Unfinished) bool { return u.ID == tr.ID })
		if i < 0 && next != "" {
			after = next
			continue
		}
		if i < 0 {
			t.Fatal("it is not among the unfinished ones")
		}
		now := time.Now()
		if due(page[i], now.Add(time.Second)) || !due(page[i], now.Add(gracePeriod)) {
			t.Errorf("after a second it is due: %t; after %s: %t", due(page[i], now.Add(time.Second)), gracePeriod, due(page[i], now.Add(gracePeriod)))
		}
		return
	}
}

func TestDue_WaitsLongerTheLongerATriggerHasFailed(t *testing.T) {
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
		row := store.Unfinished{Status: test.status, UpdatedAt: now.Add(-test.since), ReopenedAt: now.Add(-test.tried)}
		if got := due(row, now); got != test.want {
			t.Errorf("%+v: got %t", test, got)
		}
	}
}

func TestSweep_RequeuesTriggersWithDriftedSchedules(t *testing.T) {
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
		"disabled":     {daily, change("disabling", func(i *scheduler.UpdateScheduleInput) { i.State = schedulertypes.ScheduleStateDisabled }), true},
		"another time": {daily, change("moving", func(i *scheduler.UpdateScheduleInput) { i.ScheduleExpression = aws.String("cron(1 0 * * ? *)") }), true},
		"another zone": {daily, change("moving", func(i *scheduler.UpdateScheduleInput) { i.ScheduleExpressionTimezone = aws.String("Asia/Seoul") }), true},
		"without its settings": {daily, change("changing", func(i *scheduler.UpdateScheduleInput) {
			var input map[string]any
			if err := json.Unmarshal([]byte(*i.Target.Input), &input); err != nil {
				t.Fatal(err)
			}
			i.Target.Input = aws.String(fmt.Sprintf(`{"trigger_id":%q,"container_id":%q,"scheduled_time":"<aws.scheduler.scheduled-time>"}`, input["trigger_id"], input["container_id"]))
		}), true},
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

func TestSweep_RequeuesTriggersWithDriftedMappings(t *testing.T) {
	b := setup(t)
	functions := awslambda.NewFromConfig(mototest.Config(t))
	only := func(arn string) eventsource.Mapping {
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
		return eventsource.Mapping{}
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

func TestSweep_RequeuesTriggersOnAShardThatNoLongerExists(t *testing.T) {
	b := setup(t)
	b.sources.Relay.Shards = 1
	here := b.ready(`"nats_config":{"server_urls":["nats://n"],"subject":"s"}`)
	b.sweepWithoutRelays()
	if b.reopened(here) {
		t.Error("one that is where it should be was reopened")
	}
	if err := b.triggers.SetRelay(t.Context(), here.ID, "7", here.Generation); err != nil {
		t.Fatal(err)
	}
	b.sweepWithoutRelays()
	if !b.reopened(here) {
		t.Error("one on a shard that is not was not reopened")
	}
}

// sweepWithoutRelays scans as a run does, with one shard, and starts no relay.
func (b *testBundle) sweepWithoutRelays() {
	b.t.Helper()
	s := &sweep{function: b.function, found: map[string]int{}, progress: map[string]string{}}
	s.sources.Relay.Shards = 1
	defer s.listAll(b.t.Context())()
	for _, w := range s.scans() {
		if err := s.run(b.t.Context(), w); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestSweep_RemovesTheLeftoversOfDeletedTriggers(t *testing.T) {
	b := setup(t)
	gone := func(tr trigger.Trigger) {
		t.Helper()
		if _, err := b.triggers.MarkDeleting(t.Context(), tr.ID); err != nil {
			t.Fatal(err)
		}
		if err := b.triggers.Remove(t.Context(), tr); err != nil {
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
	if _, err := b.claims.Queue(t.Context(), arn); !errors.Is(err, store.ErrNotFound) {
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

func TestSweep_DeletesTriggersWithoutAContainer(t *testing.T) {
	b := setup(t)
	tr := b.ready(daily)
	if _, err := b.containers.MarkDeleting(t.Context(), b.on.ID); err != nil {
		t.Fatal(err)
	}
	before := countRecords(t, b.containers.Table)
	b.sweep()
	if countRecords(t, b.containers.Table) != before {
		t.Error("a container that was deleted just now was opened again")
	}
	b.now = func() time.Time { return time.Now().Add(gracePeriod) }
	b.sweep()
	if countRecords(t, b.containers.Table) == before {
		t.Error("the container that is being deleted was not opened again")
	}
	if err := b.containers.Remove(t.Context(), b.on); err != nil {
		t.Fatal(err)
	}
	b.sweep()
	if got, err := b.triggers.Get(t.Context(), tr.ID); err != nil || got.Status != trigger.Deleting {
		t.Errorf("got %s, %v", got.Status, err)
	}
}

// A table that is larger than what one run may look at.
func TestSweep_ContinuesAScanFromItsBookmark(t *testing.T) {
	b := setup(t)
	var seen []string
	s := &sweep{function: b.function, found: map[string]int{}, progress: map[string]string{}}
	w := scan{"test " + uuid.NewString(), 2, func(_ context.Context, after string) (string, error) {
		seen = append(seen, after)
		n, _ := strconv.Atoi(after)
		if n == 4 {
			return "", nil
		}
		return strconv.Itoa(n + 1), nil
	}}
	for range 4 {
		if err := s.run(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(seen), "[ 1 2 3 4  1]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	broken := errors.New("the token has expired")
	w.page = func(context.Context, string) (string, error) { return "", broken }
	if err := s.run(t.Context(), w); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if after := s.progress[w.name]; after != "" {
		t.Errorf("a scan that cannot continue does not start anew: %q", after)
	}
}

func TestSweep_GivesEachScanAShareOfItsTimeAndRepeatsACutPage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // a busy machine would use up the time
		ran := map[string]string{}
		s := &sweep{function: function{scanTime: 100 * time.Millisecond}, progress: map[string]string{"slow": "3", "quick": "7"}}
		failures := s.runAll(t.Context(), []scan{
			{"slow", 5, func(ctx context.Context, after string) (string, error) {
				ran["slow"] += after
				<-ctx.Done()
				return "", ctx.Err() // the page is incomplete
			}},
			{"quick", 1, func(ctx context.Context, after string) (string, error) {
				ran["quick"] += after
				return "8", ctx.Err()
			}},
		})
		if err := errors.Join(failures...); err != nil {
			t.Errorf("a scan without time failed: %v", err)
		}
		if want := map[string]string{"slow": "3", "quick": "7"}; !maps.Equal(ran, want) {
			t.Errorf("the scans ran from %v, want %v", ran, want)
		}
		if want := map[string]string{"slow": "3", "quick": "8"}; !maps.Equal(s.progress, want) {
			t.Errorf("the scans continue at %v, want %v", s.progress, want)
		}
	})
}

func TestSweep_FindsUnfinishedRowsThatAnEarlierReleaseWrote(t *testing.T) {
	b := setup(t)
	change := func(table, id, set string, values map[string]types.AttributeValue) {
		t.Helper()
		_, err := b.triggers.Client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: &table, Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}},
			UpdateExpression: &set, ExpressionAttributeValues: values,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	const remove = "REMOVE unfinished"
	failed, finished := b.create(daily, time.Hour, trigger.Error), b.ready(daily)
	if _, err := b.containers.MarkDeleting(t.Context(), b.on.ID); err != nil {
		t.Fatal(err)
	}
	ns, _, err := namespace.Create([]byte(`{"name":"n"}`), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.namespaces.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	if _, err := b.namespaces.MarkDeleting(t.Context(), ns.ID); err != nil {
		t.Fatal(err)
	}
	change(b.triggers.Table, failed.ID, remove, nil)
	change(b.containers.Table, b.on.ID, remove, nil)
	change(b.namespaces.Table, ns.ID, remove, nil)
	change(b.triggers.Table, finished.ID, "SET unfinished = :yes", map[string]types.AttributeValue{":yes": &types.AttributeValueMemberS{Value: "yes"}})

	b.now = func() time.Time { return time.Now().Add(gracePeriod) }
	containers, namespaces := countRecords(t, b.containers.Table), countRecords(t, b.namespaces.Table)
	b.sweep() // adds them to the index
	b.sweep()
	if !b.reopened(failed) {
		t.Error("the failed trigger was not found")
	}
	// One record adds the row to the index, and one requeues it.
	if got := countRecords(t, b.containers.Table) - containers; got != 2 {
		t.Errorf("the container that is being deleted was written %d times", got)
	}
	if got := countRecords(t, b.namespaces.Table) - namespaces; got != 2 {
		t.Errorf("the namespace that is being deleted was written %d times", got)
	}
	if b.reopened(finished) {
		t.Error("a finished trigger in the index was requeued")
	}
	for after, first := "", true; first || after != ""; first = false {
		page, next, err := b.triggers.Unfinished(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(page, func(u store.Unfinished) bool { return u.ID == finished.ID }) {
			t.Error("a finished trigger is left in the index")
		}
		after = next
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

func TestSweep_LeavesATriggerThatHasChangedSinceTheScan(t *testing.T) {
	b := setup(t)
	scanned := b.ready(daily)
	current, err := b.triggers.Get(t.Context(), scanned.ID)
	if err != nil {
		t.Fatal(err)
	}
	s := &sweep{function: b.function, found: map[string]int{}}
	stale := current
	stale.Generation--
	for want, row := range []trigger.Trigger{stale, current} {
		if err := s.requeueDrifted(t.Context(), row); err != nil || s.found[drifted] != want {
			t.Errorf("generation %d of %d: %d found, %v", row.Generation, current.Generation, s.found[drifted], err)
		}
	}
}
