package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/container"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

func TestWhatIsNotDoneIsOpenedAgain(t *testing.T) {
	t.Parallel()
	env, db := mototest.Environment(t, "reconcile"), dynamodb.NewFromConfig(mototest.Config(t))
	f := function{
		triggers: table.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]},
		claims:   table.Claims{Client: db, Table: env["CLAIMS_TABLE"]}, now: time.Now,
	}
	containers := table.Containers{Client: db, Table: env["CONTAINERS_TABLE"]}
	on := container.Container{ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1}
	if err := containers.Create(t.Context(), on); err != nil {
		t.Fatal(err)
	}
	// create makes a trigger that was last changed that long ago, and settles it
	// unless the outcome is "".
	create := func(age time.Duration, outcome trigger.Status) trigger.Trigger {
		body := fmt.Sprintf(`{"name":"n","container_id":%q,"cron_config":{"schedule":"@daily"}}`, on.ID)
		created, _, err := trigger.Create([]byte(body), uuid.NewString(), "fr-par", time.Now().Add(-age))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.triggers.Create(t.Context(), containers, created); err != nil {
			t.Fatal(err)
		}
		message := ""
		switch outcome {
		case "":
			return created
		case trigger.Error:
			message = "broken"
		}
		if err := f.triggers.Settle(t.Context(), created, message, time.Now()); err != nil {
			t.Fatal(err)
		}
		return created
	}
	ready, failed := create(time.Hour, trigger.Ready), create(0, trigger.Error)
	fresh, stuck := create(0, ""), create(time.Hour, "")

	changed := func(tr trigger.Trigger) bool {
		t.Helper()
		row, err := f.triggers.Get(t.Context(), tr.ID)
		if err != nil {
			t.Fatal(err)
		}
		return !row.Settled()
	}
	records := func() int { return countRecords(t, env["TRIGGERS_TABLE"]) }
	before := records()
	if err := f.handle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if changed(ready) || !changed(failed) {
		t.Errorf("opened: ready %t, failed %t", changed(ready), changed(failed))
	}
	// The stuck one is told of by the stream as well, the fresh one is left to
	// reconcile.
	if got := records() - before; got != 2 {
		t.Errorf("%d triggers were opened, want the failed and the stuck one (fresh %s, stuck %s)", got, fresh.ID, stuck.ID)
	}
	if after, err := f.claims.Bookmark(t.Context(), bookmark); err != nil || after != "" {
		t.Errorf("the next run goes on after %q, %v", after, err)
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
