package guard_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
)

func TestIndexLag_ShowsWhatTheIndexHadBeforeTheWrite(t *testing.T) {
	t.Parallel()
	before, cfg := guardtest.Start(t)
	var behind atomic.Int64
	before.SetIndexLag(func() time.Duration { return time.Duration(behind.Load()) })
	db, table := dynamodb.NewFromConfig(cfg), aws.String(mototest.Environment(t, "sweep")["TRIGGERS_TABLE"])
	text := func(value string) types.AttributeValue { return &types.AttributeValueMemberS{Value: value} }
	shard, id := uuid.NewString(), uuid.NewString()
	key := map[string]types.AttributeValue{"id": text(id)}
	put := func(id, status string) {
		t.Helper()
		_, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: table, Item: map[string]types.AttributeValue{
			"id": text(id), "relay": text(shard), "status": text(status), "description": text("not projected"),
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	statuses := func() (list []string) {
		t.Helper()
		page, err := db.Query(t.Context(), &dynamodb.QueryInput{
			TableName: table, IndexName: aws.String("by-relay"), KeyConditionExpression: aws.String("relay = :shard"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":shard": text(shard)},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			if item["description"] != nil {
				t.Error("the index has more than it projects")
			}
			list = append(list, item["status"].(*types.AttributeValueMemberS).Value)
		}
		if int(page.Count) != len(list) {
			t.Errorf("%d items are counted as %d", len(list), page.Count)
		}
		slices.Sort(list)
		return list
	}
	expect := func(what string, want ...string) {
		t.Helper()
		if got := statuses(); !slices.Equal(got, want) {
			t.Errorf("%s: the index has %v, want %v", what, got, want)
		}
	}
	put(id, "first")
	expect("without a lag", "first")

	behind.Store(int64(time.Hour))
	put(id, "second")
	put(uuid.NewString(), "another")
	expect("behind an update and a new row", "first")
	if row, err := db.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: table, Key: key}); err != nil || row.Item["status"].(*types.AttributeValueMemberS).Value != "second" {
		t.Errorf("the table itself lags: %v, %v", row.Item, err)
	}
	if _, err := db.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: table, Key: key}); err != nil {
		t.Fatal(err)
	}
	expect("behind a deletion", "first")

	shard, id = uuid.NewString(), uuid.NewString()
	behind.Store(int64(100 * time.Millisecond))
	put(id, "late")
	deadline := time.Now().Add(10 * time.Second)
	for now := range time.Tick(10 * time.Millisecond) {
		if len(statuses()) > 0 || now.After(deadline) {
			break
		}
	}
	expect("after the lag", "late")
}
