package moto_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
)

func TestMoto_CancelledTransactionChangesNoTableOrStream(t *testing.T) {
	t.Parallel()
	cfg := mototest.Config(t)
	db, streams := dynamodb.NewFromConfig(cfg), dynamodbstreams.NewFromConfig(cfg)
	name := uuid.NewString()
	created, err := db.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
		StreamSpecification:  &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewImage},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := created.TableDescription.LatestStreamArn
	stream, err := streams.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: arn})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := streams.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{
		StreamArn: arn, ShardId: stream.StreamDescription.Shards[0].ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	iterator := opened.ShardIterator
	records := func() (ids []string) {
		t.Helper()
		page, err := streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: iterator})
		if err != nil {
			t.Fatal(err)
		}
		iterator = page.NextShardIterator
		for _, record := range page.Records {
			ids = append(ids, record.Dynamodb.Keys["id"].(*streamtypes.AttributeValueMemberS).Value)
		}
		return ids
	}
	key := func(id string) map[string]types.AttributeValue {
		return map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}}
	}
	put := func(id string) types.TransactWriteItem {
		return types.TransactWriteItem{Put: &types.Put{TableName: &name, Item: key(id), ConditionExpression: aws.String("attribute_not_exists(id)")}}
	}
	update := types.TransactWriteItem{Update: &types.Update{
		TableName: &name, Key: key("one"), UpdateExpression: aws.String("SET changed = :yes"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":yes": &types.AttributeValueMemberBOOL{Value: true}},
	}}
	write := func(items ...types.TransactWriteItem) error {
		_, err := db.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{TransactItems: items})
		return err
	}
	if err := write(put("one"), put("other")); err != nil {
		t.Fatal(err)
	}
	if got := records(); len(got) != 2 {
		t.Errorf("got records of %v", got)
	}
	if err := write(put("two"), update, put("other")); err == nil {
		t.Fatal("a transaction was carried out whose condition does not hold")
	}
	for id, want := range map[string]int{"one": 1, "two": 0} { // attributes
		answer, err := db.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &name, Key: key(id)})
		if err != nil || len(answer.Item) != want {
			t.Errorf("%s: got %v, %v", id, answer.Item, err)
		}
	}
	if err := write(put("three")); err != nil {
		t.Fatal(err)
	}
	if got := records(); len(got) != 1 || got[0] != "three" {
		t.Errorf("got records of %v", got)
	}
}
