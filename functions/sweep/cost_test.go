package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/infra/local/provisiontest"
	"containertriggers/shared/aws/store"
)

const (
	manyTriggers = 10_000
	mostCalls    = 150
)

// Moto takes minutes for so many schedules. The stand-in has the limits and forms of AWS that
// matter for the number of calls. TestSweep_RequeuesTriggersWithDriftedSchedules runs on moto.
func TestSweep_MakesFewCallsForManyUnchangedTriggers(t *testing.T) {
	b := setup(t)
	aws := newAWS(b, manyTriggers)
	cfg := mototest.Config(t)
	cfg.HTTPClient = aws
	client := dynamodb.NewFromConfig(cfg)
	f := newFunction(provisiontest.Sources(t, cfg), store.Containers{Client: client, Table: b.containers.Table},
		store.Namespaces{Client: client, Table: b.namespaces.Table}, "test", time.Now)
	f.scanTime = time.Hour // this machine may be busy
	sweep := func() map[string]int {
		t.Helper()
		aws.calls, aws.bookmarks = map[string]int{}, nil // each run has the first thousand triggers
		if err := f.handle(t.Context()); err != nil {
			t.Fatal(err)
		}
		return aws.calls
	}
	// A trigger may have two schedules, which are read, and is verified then.
	if calls := sweep(); calls["GetSchedule"] != 2000 || calls["UpdateItem"] != 1000 {
		t.Fatalf("a run over triggers that are not verified made %v", calls)
	}
	began := time.Now()
	calls, sum := sweep(), 0
	for _, count := range calls {
		sum += count
	}
	t.Logf("%d calls in %s: %v", sum, time.Since(began), calls)
	if sum > mostCalls || calls["GetSchedule"] > 0 || calls["UpdateItem"] > 0 {
		t.Errorf("a run over unchanged triggers made %d calls: %v", sum, calls)
	}

	changed, gone := aws.ids[0], aws.ids[1]
	aws.schedules[changed]["LastModificationDate"] = float64(time.Now().Unix())
	delete(aws.schedules, gone)
	aws.names = slices.DeleteFunc(aws.names, func(name string) bool { return name == gone })
	if calls := sweep(); calls["GetSchedule"] != 3 || calls["UpdateItem"] != 1 {
		t.Errorf("a run over a changed trigger and one without its schedule made %v", calls)
	}
}

// awsStandIn answers the calls of a sweep over cron triggers that are ready, each with its own
// container. It refuses other calls and forms.
type awsStandIn struct {
	b   *testBundle
	ids []string // in the order of a scan

	mu        sync.Mutex
	calls     map[string]int
	rows      map[string]map[string]any // triggers, in DynamoDB's form
	names     []string                  // of schedules, sorted
	schedules map[string]map[string]any
	bookmarks json.RawMessage
}

func newAWS(b *testBundle, count int) *awsStandIn {
	b.t.Helper()
	tr := b.ready(daily)
	row := b.raw(tr.ID)
	found, err := b.sources.Schedules.Client.GetSchedule(b.t.Context(), &scheduler.GetScheduleInput{Name: &tr.ID, GroupName: &b.sources.Schedules.Group})
	if err != nil {
		b.t.Fatal(err)
	}
	aws := &awsStandIn{b: b, rows: map[string]map[string]any{}, schedules: map[string]map[string]any{}}
	for range count {
		id, on := uuid.NewString(), uuid.NewString()
		aws.ids = append(aws.ids, id)
		aws.rows[id] = maps.Clone(row)
		aws.rows[id]["id"], aws.rows[id]["container_id"] = map[string]any{"S": id}, map[string]any{"S": on}
		target := map[string]any{
			"Arn": *found.Target.Arn, "RoleArn": *found.Target.RoleArn,
			"Input":            strings.NewReplacer(tr.ID, id, tr.ContainerID, on).Replace(*found.Target.Input),
			"RetryPolicy":      found.Target.RetryPolicy,
			"DeadLetterConfig": found.Target.DeadLetterConfig,
		}
		aws.schedules[id] = map[string]any{
			"Name": id, "GroupName": b.sources.Schedules.Group, "State": "ENABLED", "Target": target,
			"LastModificationDate": float64(time.Now().Add(-time.Hour).UnixMilli()) / 1000,
			"ScheduleExpression":   *found.ScheduleExpression, "ScheduleExpressionTimezone": *found.ScheduleExpressionTimezone,
			"FlexibleTimeWindow": map[string]any{"Mode": "OFF"},
		}
		aws.names = append(aws.names, id)
	}
	slices.Sort(aws.names)
	return aws
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

var errNoSchedule = errors.New("there is no such schedule")

// Do is the HTTP client of the SDK.
func (a *awsStandIn) Do(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body) // a buffer
	}
	operation, answer, err := a.answer(r, body)
	a.calls[operation]++
	status := http.StatusOK
	switch {
	case errors.Is(err, errNoSchedule):
		status, answer = http.StatusNotFound, map[string]any{"__type": "ResourceNotFoundException", "message": err.Error()}
	case err != nil:
		status, answer = http.StatusBadRequest, map[string]any{"__type": "ValidationException", "message": err.Error()}
	}
	encoded, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(string(encoded))), ContentLength: int64(len(encoded)),
	}, nil
}

func (a *awsStandIn) answer(r *http.Request, body []byte) (operation string, answer any, err error) {
	if _, name, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "DynamoDB_20120810."); ok {
		answer, err = a.dynamoDB(name, body)
		return name, answer, err
	}
	if r.Method != http.MethodGet {
		return r.Method, nil, fmt.Errorf("%s %s is not a read", r.Method, r.URL)
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/schedules/"); ok {
		if a.schedules[name] == nil {
			return "GetSchedule", nil, errNoSchedule
		}
		return "GetSchedule", a.schedules[name], nil
	}
	switch r.URL.Path {
	case "/schedules":
		answer, err = a.listSchedules(r.URL.Query())
		return "ListSchedules", answer, err
	case "/2015-03-31/event-source-mappings":
		return "ListEventSourceMappings", map[string]any{"EventSourceMappings": []any{}}, nil
	}
	return r.URL.Path, nil, fmt.Errorf("no call of a sweep is %s", r.URL)
}

// listSchedules answers pages of 100 at most, of summaries (Scheduler API Reference,
// "ListSchedules", "ScheduleSummary").
func (a *awsStandIn) listSchedules(query url.Values) (any, error) {
	most, err := strconv.Atoi(query.Get("MaxResults"))
	if err != nil || most < 1 || most > 100 || query.Get("ScheduleGroup") != a.b.sources.Schedules.Group || query.Has("State") {
		return nil, fmt.Errorf("got the query %v", query)
	}
	from := 0
	if token := query.Get("NextToken"); token != "" {
		if from, err = strconv.Atoi(strings.TrimPrefix(token, "after ")); err != nil {
			return nil, fmt.Errorf("%s is no token", token)
		}
	}
	summaries, answer := []any{}, map[string]any{}
	for _, name := range a.names[from:min(from+most, len(a.names))] {
		all := a.schedules[name]
		target, _ := all["Target"].(map[string]any)
		summaries = append(summaries, map[string]any{
			"Name": name, "GroupName": all["GroupName"], "State": all["State"],
			"LastModificationDate": all["LastModificationDate"], "Target": map[string]any{"Arn": target["Arn"]},
		})
	}
	answer["Schedules"] = summaries
	if from+most < len(a.names) {
		answer["NextToken"] = fmt.Sprintf("after %d", from+most)
	}
	return answer, nil
}

// dynamoDB answers a call on the tables. Nothing is unfinished, deleted or in a namespace, so
// filters match no row.
func (a *awsStandIn) dynamoDB(operation string, body []byte) (any, error) {
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
		return a.scan(input.TableName, input.FilterExpression, input.ExclusiveStartKey["id"].S, input.Limit)
	case "GetItem":
		if input.TableName == a.b.triggers.Table {
			return map[string]any{"Item": a.rows[input.Key["id"].S]}, nil
		}
		return map[string]any{"Item": a.bookmarks}, nil
	case "PutItem":
		a.bookmarks = input.Item
		return map[string]any{}, nil
	case "UpdateItem":
		row := a.rows[input.Key["id"].S]
		if verified := input.ExpressionAttributeValues[":verified"].S; verified != "" {
			row["verified"] = map[string]any{"S": verified}
		} else {
			row["observed_generation"] = map[string]any{"N": "0"}
		}
		return map[string]any{}, nil
	case "BatchGetItem":
		return a.batchGet(input.RequestItems)
	}
	return nil, fmt.Errorf("no call of a sweep is %s", operation)
}

// scan answers a page of at most 1 MB, before the filter (DynamoDB API Reference, "Scan").
func (a *awsStandIn) scan(table, filter, after string, most int) (any, error) {
	if table == a.b.claims.Table || table == a.b.namespaces.Table {
		return map[string]any{"Items": []any{}}, nil
	}
	const rowBytes, pageBytes = 1500, 1 << 20
	most = min(most, pageBytes/rowBytes)
	from := slices.Index(a.ids, after) + 1
	page, items, answer := a.ids[from:min(from+most, len(a.ids))], []any{}, map[string]any{}
	for _, id := range page {
		if filter == "" && table == a.b.triggers.Table {
			items = append(items, a.rows[id])
		}
	}
	answer["Items"] = items
	if len(page) == most {
		answer["LastEvaluatedKey"] = map[string]any{"id": map[string]any{"S": page[most-1]}}
	}
	return answer, nil
}

// batchGet answers at most 100 different keys (DynamoDB API Reference, "BatchGetItem"). Each of
// them has a row: a trigger's own, or a container's.
func (a *awsStandIn) batchGet(wanted map[string]struct {
	Keys []struct{ ID struct{ S string } }
}) (any, error) {
	responses := map[string]any{}
	for table, of := range wanted {
		seen := map[string]bool{}
		items := []any{}
		for _, key := range of.Keys {
			if seen[key.ID.S] {
				return nil, fmt.Errorf("%s is requested twice", key.ID.S)
			}
			seen[key.ID.S] = true
			items = append(items, map[string]any{"id": map[string]any{"S": key.ID.S}})
		}
		if len(items) > 100 {
			return nil, fmt.Errorf("%d keys are requested", len(items))
		}
		responses[table] = items
	}
	return map[string]any{"Responses": responses, "UnprocessedKeys": map[string]any{}}, nil
}
