package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// dynamoDB answers a call on the tables. Nothing is unfinished, deleted or in a namespace, so
// filters match no row.
func (s *standIn) dynamoDB(operation string, body []byte) (any, error) {
	var input struct {
		TableName, IndexName, FilterExpression, UpdateExpression string
		Limit                                                    int
		ExclusiveStartKey, Key, ExpressionAttributeValues        map[string]struct{ S string }
		RequestItems                                             map[string]struct {
			Keys []struct{ ID struct{ S string } }
		}
		Item json.RawMessage
	}
	if err := json.Unmarshal(body, &input); err != nil {
		return nil, err
	}
	switch operation {
	case "Query":
		if input.IndexName != "by-unfinished" {
			return nil, fmt.Errorf("queried %s", input.IndexName)
		}
		return map[string]any{"Items": []any{}, "Count": 0}, nil
	case "Scan":
		return s.scan(input.TableName, input.FilterExpression, input.ExclusiveStartKey, input.Limit)
	case "GetItem":
		if input.TableName == s.f.triggers.Table {
			return map[string]any{"Item": s.rowOf(input.Key["id"].S)}, nil
		}
		return map[string]any{"Item": s.claim(input.Key["name"].S)}, nil
	case "PutItem":
		s.bookmarks = input.Item
		return map[string]any{}, nil
	case "UpdateItem":
		if verified := input.ExpressionAttributeValues[":verified"].S; verified != "" {
			s.verified[input.Key["id"].S] = verified
		} else {
			s.requeued[input.Key["id"].S] = true
		}
		return map[string]any{}, nil
	case "BatchGetItem":
		return batchGet(input.RequestItems)
	}
	return nil, fmt.Errorf("no call of a sweep is %s", operation)
}

// claim returns a row of the table of claims.
func (s *standIn) claim(name string) any {
	if name == bookmark {
		return s.bookmarks
	}
	if s.mapping == "" {
		return nil
	}
	if id, ok := strings.CutPrefix(name, "held-by/"); ok {
		return map[string]any{"name": stringValue(name), "queues": map[string]any{"SS": []string{queueOf(id)}}}
	}
	return map[string]any{"name": stringValue(name), "trigger_id": stringValue(strings.TrimPrefix(name, queuePrefix))}
}

func stringValue(value string) any { return map[string]any{"S": value} }

// scan answers a page of at most 1 MB, before the filter (DynamoDB API Reference, "Scan").
func (s *standIn) scan(table, filter string, start map[string]struct{ S string }, most int) (any, error) {
	if table == s.f.claims.Table {
		return s.scanClaims(start["name"].S, most), nil
	}
	if table == s.f.namespaces.Table {
		return map[string]any{"Items": []any{}}, nil
	}
	const rowBytes, pageBytes = 1500, 1 << 20
	most = min(most, pageBytes/rowBytes)
	from := s.position(start["id"].S)
	items, answer := []any{}, map[string]any{}
	until := min(from+most, s.count)
	if filter == "" && table == s.f.triggers.Table {
		for position := from; position < until; position++ {
			items = append(items, s.rowOf(s.scanned(position)))
		}
		s.rows += until - from
	}
	answer["Items"] = items
	if until < s.count {
		answer["LastEvaluatedKey"] = map[string]any{"id": stringValue(s.scanned(until - 1))}
	}
	return answer, nil
}

// scanClaims answers a page of the table of claims, in which a trigger of a queue has two rows.
func (s *standIn) scanClaims(after string, most int) any {
	items, answer := []any{}, map[string]any{}
	if s.mapping == "" {
		answer["Items"] = items
		return answer
	}
	names := func(position int) string {
		if id := idOf(position / 2); position%2 == 0 {
			return queueOf(id)
		} else {
			return "held-by/" + id
		}
	}
	from := 0
	if id, ok := strings.CutPrefix(after, "held-by/"); ok {
		from = 2*indexOf(id) + 2
	} else if after != "" {
		from = 2*indexOf(strings.TrimPrefix(after, queuePrefix)) + 1
	}
	until := min(from+most, 2*s.count)
	for position := from; position < until; position++ {
		items = append(items, s.claim(names(position)))
	}
	answer["Items"] = items
	if until < 2*s.count {
		answer["LastEvaluatedKey"] = map[string]any{"name": stringValue(names(until - 1))}
	}
	return answer
}

// batchGet answers at most 100 different keys (DynamoDB API Reference, "BatchGetItem"). Each of
// them has a row: a trigger's own, or a container's.
func batchGet(wanted map[string]struct {
	Keys []struct{ ID struct{ S string } }
}) (any, error) {
	responses := map[string]any{}
	for table, of := range wanted {
		var ids []string
		items := []any{}
		for _, key := range of.Keys {
			ids = append(ids, key.ID.S)
			items = append(items, map[string]any{"id": stringValue(key.ID.S)})
		}
		if slices.Sort(ids); len(slices.Compact(ids)) != len(items) || len(items) > 100 {
			return nil, fmt.Errorf("%d keys are requested, or one twice", len(items))
		}
		responses[table] = items
	}
	return map[string]any{"Responses": responses, "UnprocessedKeys": map[string]any{}}, nil
}

// raw returns a trigger's row as DynamoDB answers it.
func (b *testBundle) raw(id string) map[string]any {
	b.t.Helper()
	answer, err := b.triggers.Client.GetItem(b.t.Context(), &dynamodb.GetItemInput{
		TableName: &b.triggers.Table, Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	row := map[string]any{}
	for name, value := range answer.Item {
		row[name] = inDynamoDBsForm(value)
	}
	return row
}

func inDynamoDBsForm(value types.AttributeValue) any {
	switch value := value.(type) {
	case *types.AttributeValueMemberS:
		return map[string]any{"S": value.Value}
	case *types.AttributeValueMemberN:
		return map[string]any{"N": value.Value}
	case *types.AttributeValueMemberNULL:
		return map[string]any{"NULL": true}
	case *types.AttributeValueMemberB:
		return map[string]any{"B": value.Value}
	case *types.AttributeValueMemberBOOL:
		return map[string]any{"BOOL": value.Value}
	case *types.AttributeValueMemberL:
		list := []any{}
		for _, each := range value.Value {
			list = append(list, inDynamoDBsForm(each))
		}
		return map[string]any{"L": list}
	case *types.AttributeValueMemberM:
		fields := map[string]any{}
		for name, each := range value.Value {
			fields[name] = inDynamoDBsForm(each)
		}
		return map[string]any{"M": fields}
	}
	panic(fmt.Sprintf("no row has a %T", value))
}
