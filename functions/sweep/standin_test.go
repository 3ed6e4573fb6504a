package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/infra/local/provisiontest"
	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/relay/shard"
)

// standIn answers the calls of a sweep over any number of ready triggers of one source, each
// with its own container. Moto takes minutes for so many. The stand-in has the limits and forms
// of AWS that matter for the number of calls, and refuses other calls and forms. It makes each
// row, schedule and mapping when it is asked for, so a million of them need no memory.
type standIn struct {
	count int
	// takes is the time of a call.
	takes time.Duration
	f     function

	// The texts of trigger 0, from moto.
	row, schedule, mapping string
	container              string

	mu        sync.Mutex
	calls     map[string]int
	rows      int               // that scans of the table of triggers have returned
	verified  map[string]string // by the trigger's ID
	requeued  map[string]bool
	changed   map[string]time.Time // schedules that an operator has changed
	gone      map[string]bool      // schedules that an operator has deleted
	bookmarks json.RawMessage
}

// longAgo is when schedules were last changed. A fake clock begins in 2000.
var longAgo = time.Date(1995, 1, 1, 0, 0, 0, 0, time.UTC)

// newStandIn returns a stand-in with that many triggers like one that is ready on moto, and a
// sweep that uses it.
func newStandIn(b *testBundle, tr trigger.Trigger, count int) *standIn {
	b.t.Helper()
	s := &standIn{
		count: count, calls: map[string]int{}, verified: map[string]string{}, requeued: map[string]bool{},
		changed: map[string]time.Time{}, gone: map[string]bool{}, container: tr.ContainerID,
	}
	s.row = regexp.MustCompile(`"(created|updated)_at":\{"S":"20..`).ReplaceAllString(b.text(b.raw(tr.ID), tr.ID), `"${1}_at":{"S":"1995`)
	switch {
	case tr.Cron != nil:
		found, err := b.sources.Schedules.Client.GetSchedule(b.t.Context(), &scheduler.GetScheduleInput{Name: &tr.ID, GroupName: &b.sources.Schedules.Group})
		if err != nil {
			b.t.Fatal(err)
		}
		s.schedule = b.text(map[string]any{
			"Name": tr.ID, "GroupName": b.sources.Schedules.Group, "State": "ENABLED", "LastModificationDate": "DATE",
			"Target": map[string]any{
				"Arn": *found.Target.Arn, "RoleArn": *found.Target.RoleArn, "Input": *found.Target.Input,
				"RetryPolicy": found.Target.RetryPolicy, "DeadLetterConfig": found.Target.DeadLetterConfig,
			},
			"ScheduleExpression": *found.ScheduleExpression, "ScheduleExpressionTimezone": *found.ScheduleExpressionTimezone,
			"FlexibleTimeWindow": map[string]any{"Mode": "OFF"},
		}, tr.ID)
	case tr.SQS != nil:
		s.mapping = b.text(map[string]any{
			"UUID": tr.ID, "EventSourceArn": queueOf(tr.ID), "FunctionArn": b.sources.Queues.Mappings.ShortARN, "State": "Enabled",
			"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": []string{"ReportBatchItemFailures"},
			"ScalingConfig": map[string]any{"MaximumConcurrency": b.sources.Queues.Mappings.Concurrency},
		}, tr.ID)
	}
	cfg := mototest.Config(b.t)
	cfg.HTTPClient = s
	cfg.Credentials = aws.AnonymousCredentials{} // signatures would take most of the time
	client := dynamodb.NewFromConfig(cfg)
	s.f = newFunction(provisiontest.Sources(b.t, cfg), store.Containers{Client: client, Table: b.containers.Table},
		store.Namespaces{Client: client, Table: b.namespaces.Table}, "test", 1000, time.Now)
	s.f.sources.Queues.Mappings.Client = lambda.NewFromConfig((&eventsource.Pace{Interval: eventsource.SweepInterval}).Apply(cfg))
	return s
}

// placeholder stands for the trigger's ID.
const placeholder = "{ID}"

// text returns the JSON of a value of a trigger, with the placeholder for the trigger's ID.
func (b *testBundle) text(value any, id string) string {
	b.t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.ReplaceAll(string(encoded), id, placeholder)
}

// stride is prime, so that a multiple of it modulo the number of triggers is a permutation.
const stride = 7919

// scanned returns the ID of the trigger at a position of a scan. A scan has another order than
// a list of schedules.
func (s *standIn) scanned(position int) string { return idOf(position * stride % s.count) }

// position returns the position after a trigger in a scan, or 0 after "".
func (s *standIn) position(after string) int {
	if after == "" {
		return 0
	}
	inverse := new(big.Int).ModInverse(big.NewInt(stride), big.NewInt(int64(s.count)))
	return indexOf(after)*int(inverse.Int64())%s.count + 1
}

func idOf(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", i) }

func indexOf(id string) int {
	i, err := strconv.ParseInt(id[:8], 16, 32)
	if err != nil {
		panic(err)
	}
	return int(i)
}

// containerOf returns the ID of a trigger's container.
func containerOf(id string) string { return id[:9] + "1" + id[10:] }

const queuePrefix = "arn:aws:sqs:us-east-1:123456789012:"

func queueOf(id string) string { return queuePrefix + id }

// rowOf returns a trigger's row in DynamoDB's form.
func (s *standIn) rowOf(id string) json.RawMessage {
	row := strings.NewReplacer(placeholder, id, s.container, containerOf(id)).Replace(s.row)
	if s.requeued[id] {
		row = strings.Replace(row, `"observed_generation":{"N":"1"}`, `"observed_generation":{"N":"0"}`, 1)
	}
	if strings.Contains(row, `"relay":`) {
		row = strings.Replace(row, `"relay":{"S":"0"}`, fmt.Sprintf(`"relay":{"S":%q}`, shard.Of(id, s.f.sources.Relay.Shards)), 1)
	}
	return json.RawMessage(fmt.Sprintf(`{"verified":{"S":%q},`, s.verified[id]) + row[1:])
}

// scheduleOf returns a trigger's schedule, or nil if it has none.
func (s *standIn) scheduleOf(name string) any {
	if strings.Contains(name, ".") || s.gone[name] {
		return nil
	}
	changed, ok := s.changed[name]
	if !ok {
		changed = longAgo
	}
	return json.RawMessage(strings.NewReplacer(placeholder, name, s.container, containerOf(name), `"DATE"`, strconv.FormatInt(changed.Unix(), 10)).Replace(s.schedule))
}

// run runs a sweep from the first row, and returns its calls and its time.
func (s *standIn) run(t *testing.T) (calls map[string]int, took time.Duration, err error) {
	t.Helper()
	s.calls, s.rows, s.bookmarks = map[string]int{}, 0, nil
	began := time.Now()
	err = s.f.handle(t.Context())
	return s.calls, time.Since(began), err
}

var errNoSchedule = errors.New("there is no such schedule")

// Do is the HTTP client of the SDK.
func (s *standIn) Do(r *http.Request) (*http.Response, error) {
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(s.takes):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body) // a buffer
	}
	operation, answer, err := s.answer(r, body)
	s.calls[operation]++
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

func (s *standIn) answer(r *http.Request, body []byte) (operation string, answer any, err error) {
	if _, name, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "DynamoDB_20120810."); ok {
		answer, err = s.dynamoDB(name, body)
		return name, answer, err
	}
	if r.Method != http.MethodGet {
		return r.Method, nil, fmt.Errorf("%s %s is not a read", r.Method, r.URL)
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/schedules/"); ok {
		if answer = s.scheduleOf(name); answer == nil {
			err = errNoSchedule
		}
		return "GetSchedule", answer, err
	}
	switch strings.TrimSuffix(r.URL.Path, "/") {
	case "/schedules":
		answer, err = s.listSchedules(r.URL.Query())
		return "ListSchedules", answer, err
	case "/2015-03-31/event-source-mappings":
		answer, err = s.listMappings(r.URL.Query())
		return "ListEventSourceMappings", answer, err
	}
	return r.URL.Path, nil, fmt.Errorf("no call of a sweep is %s", r.URL)
}

// listSchedules answers pages of 100 at most, of summaries (Scheduler API Reference,
// "ListSchedules", "ScheduleSummary").
func (s *standIn) listSchedules(query url.Values) (any, error) {
	most, err := strconv.Atoi(query.Get("MaxResults"))
	if err != nil || most < 1 || most > 100 || query.Get("ScheduleGroup") != s.f.sources.Schedules.Group || query.Has("State") {
		return nil, fmt.Errorf("got the query %v", query)
	}
	page, next := s.page(query.Get("NextToken"), most, s.schedule != "")
	summaries, answer := []any{}, map[string]any{}
	for _, name := range page {
		if s.gone[name] {
			continue
		}
		changed, ok := s.changed[name]
		if !ok {
			changed = longAgo
		}
		summaries = append(summaries, map[string]any{
			"Name": name, "GroupName": s.f.sources.Schedules.Group, "State": "ENABLED", "LastModificationDate": changed.Unix(),
			"Target": map[string]any{"Arn": s.f.sources.Schedules.TargetARN},
		})
	}
	answer["Schedules"] = summaries
	if next != "" {
		answer["NextToken"] = next
	}
	return answer, nil
}

// listMappings answers pages of 100 (Lambda API Reference, "ListEventSourceMappings").
func (s *standIn) listMappings(query url.Values) (any, error) {
	function := query.Get("FunctionName")
	if function != s.f.sources.Queues.Mappings.ShortARN && function != s.f.sources.Queues.Mappings.LongARN || query.Has("EventSourceArn") {
		return nil, fmt.Errorf("got the query %v", query)
	}
	page, next := s.page(query.Get("Marker"), 100, s.mapping != "" && function == s.f.sources.Queues.Mappings.ShortARN)
	mappings, answer := []any{}, map[string]any{}
	for _, id := range page {
		mappings = append(mappings, json.RawMessage(strings.ReplaceAll(s.mapping, placeholder, id)))
	}
	answer["EventSourceMappings"] = mappings
	if next != "" {
		answer["NextMarker"] = next
	}
	return answer, nil
}

// page returns the IDs of a page of a list, and the token of the next page.
func (s *standIn) page(token string, most int, hasAny bool) (ids []string, next string) {
	if !hasAny {
		return nil, ""
	}
	from, _ := strconv.Atoi(token) // 0 for the first page
	for i := from; i < min(from+most, s.count); i++ {
		ids = append(ids, idOf(i))
	}
	if from+most < s.count {
		next = strconv.Itoa(from + most)
	}
	return ids, next
}
