package guard_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
)

func TestMeter_CountsTheUnitsOfEachCall(t *testing.T) {
	t.Parallel()
	metered, cfg := guardtest.Start(t)
	metered.StartMeter()
	cfg.Credentials = credentials.NewStaticCredentialsProvider("local", "local", "some-function")
	db, env := dynamodb.NewFromConfig(cfg), mototest.Environment(t, "sweep")
	triggers, claims := aws.String(env["TRIGGERS_TABLE"]), aws.String(env["CLAIMS_TABLE"])
	text := func(value string) types.AttributeValue { return &types.AttributeValueMemberS{Value: value} }
	id, owner, name := text(uuid.NewString()), text(uuid.NewString()), text("meter/"+uuid.NewString())
	key := map[string]types.AttributeValue{"id": id}
	ctx := t.Context()
	put := func(table *string, row map[string]types.AttributeValue) error {
		_, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: row})
		return err
	}
	update := func(set string, value types.AttributeValue, condition *string) error {
		_, err := db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: triggers, Key: key, UpdateExpression: aws.String("SET #name = :value"), ConditionExpression: condition,
			ExpressionAttributeNames: map[string]string{"#name": set}, ExpressionAttributeValues: map[string]types.AttributeValue{":value": value},
		})
		return err
	}
	for _, step := range []struct {
		name          string
		reads, writes float64
		call          func() error
	}{
		{"a small row without an index", 0, 1, func() error { return put(claims, map[string]types.AttributeValue{"name": name}) }},
		{"a row of 3 KB instead", 0, 3, func() error {
			return put(claims, map[string]types.AttributeValue{"name": name, "x": text(strings.Repeat("x", 2500))})
		}},
		{"a row in three indexes", 0, 4, func() error {
			return put(triggers, map[string]types.AttributeValue{"id": id, "owner": owner, "listing": text("p#1"), "container_id": owner})
		}},
		{"an attribute that no index of the row has", 0, 1, func() error { return update("description", text("x"), nil) }},
		{"one that an index has", 0, 3, func() error { return update("name", text("x"), nil) }},
		{"the key of an index", 0, 5, func() error { return update("listing", text("p#2"), nil) }},
		{"a condition that fails", 0, 1, func() error {
			if err := update("name", text("y"), aws.String("attribute_not_exists(id)")); err == nil {
				t.Error("the condition did not fail")
			}
			return nil
		}},
		{"a transaction", 0, 4, func() error {
			_, err := db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
				{Put: &types.Put{TableName: claims, Item: map[string]types.AttributeValue{"name": text("meter/" + uuid.NewString())}}},
				{ConditionCheck: &types.ConditionCheck{TableName: triggers, Key: key, ConditionExpression: aws.String("attribute_exists(id)")}},
			}})
			return err
		}},
		{"a consistent read", 1, 0, func() error {
			_, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: claims, Key: map[string]types.AttributeValue{"name": name}, ConsistentRead: aws.Bool(true)})
			return err
		}},
		{"a read of what is not there", 0.5, 0, func() error {
			_, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: claims, Key: map[string]types.AttributeValue{"name": text(uuid.NewString())}})
			return err
		}},
		{"a batch with a row that is not there", 1, 0, func() error {
			_, err := db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
				*triggers: {Keys: []map[string]types.AttributeValue{key, {"id": text(uuid.NewString())}}},
			}})
			return err
		}},
		{"a query", 0.5, 0, func() error {
			_, err := db.Query(ctx, &dynamodb.QueryInput{
				TableName: triggers, IndexName: aws.String("by-owner"), KeyConditionExpression: aws.String("#owner = :owner"),
				ExpressionAttributeNames:  map[string]string{"#owner": "owner"},
				ExpressionAttributeValues: map[string]types.AttributeValue{":owner": owner},
			})
			return err
		}},
		{"the end of the row", 0, 4, func() error {
			_, err := db.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: triggers, Key: key})
			return err
		}},
	} {
		before := metered.Used("some-function")
		if err := step.call(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		used := metered.Used("some-function").Minus(before)
		if used.Reads != step.reads || used.Writes != step.writes || len(used.Calls) != 1 || used.Sent == 0 || used.Received == 0 {
			t.Errorf("%s: used %s; want %.1f read units and %.1f write units", step.name, used, step.reads, step.writes)
		}
	}
	if others := metered.Used("another-function"); len(others.Calls) > 0 {
		t.Errorf("another function used %s", others)
	}
}
