package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"containertriggers/infra/bench/cost"
)

var writeCosts = flag.Bool("write-costs", false, "write the tables of costs instead of comparing them")

// costsIn is the document with the tables.
const costsIn = "../README.md"

// bookkeeping counts what functions do for one work after another, on a cloud of its own. The
// cloud's clock stands still but for the minutes that it is moved.
type bookkeeping struct {
	*testBundle
	result cost.Result

	clockMu sync.Mutex
	clock   time.Time
}

func (b *bookkeeping) time() time.Time {
	b.clockMu.Lock()
	defer b.clockMu.Unlock()
	return b.clock
}

func (b *bookkeeping) aMinutePasses() {
	b.clockMu.Lock()
	defer b.clockMu.Unlock()
	b.clock = b.clock.Add(time.Minute)
}

// TestCosts_AreThoseOfTheDocument counts again what each call, message and operation takes.
func TestCosts_AreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	if emulator != "" {
		tellGap(t, "calls cost what infra/README.md says")
		t.Skip("the tables are made on the tests' own emulator")
	}
	b := &bookkeeping{clock: time.Now().Truncate(time.Minute).Add(30 * time.Second)}
	w := prepare(0)
	w.Now = b.time
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	w.StartMeter()
	b.testBundle = setupIn(t, w)
	b.idle(0)
	b.changes() // before there is anything else for reconcile
	b.operations()
	b.cron()
	b.queues()
	b.nats()
	b.idle(10)
	b.idleWithMany()
	b.result.AlarmMetrics = len(regexp.MustCompile(`(?m)MetricStat: \{|^      MetricName:`).FindAll(b.template(), -1))
	b.result.RelayMemoryMB = b.Function("relay").MemoryMB

	counted := b.result.Markdown()
	if *writeCosts {
		if err := cost.Write(costsIn, counted); err != nil {
			t.Fatal(err)
		}
		fmt.Println(counted)
		return
	}
	documented, err := cost.In(costsIn)
	if err != nil {
		t.Fatal(err)
	}
	if documented != counted {
		t.Errorf("infra/README.md has other costs; make bench writes them anew: %s", difference(documented, counted))
	}
}

// difference returns the lines that one of two texts has.
func difference(a, b string) (lines string) {
	for _, pair := range [][3]string{{"- ", a, b}, {"+ ", b, a}} {
		for line := range strings.Lines(pair[1]) {
			if !strings.Contains(pair[2], line) {
				lines += "\n" + pair[0] + strings.TrimSpace(line)
			}
		}
	}
	return lines
}

// soFar returns what a function has done, and whether it is at something.
func (b *bookkeeping) soFar(folder string) (run cost.Run, busy bool) {
	ended, underWay := b.Invocations(folder)
	used := b.Used(folder)
	return cost.Run{
		Function: folder, Invocations: ended, MemoryMB: b.Function(folder).MemoryMB, Calls: used.Calls,
		Reads: used.Reads, Writes: used.Writes, Lines: strings.Count("\n"+b.logged(), "\n"+folder+"| "),
	}, underWay > 0
}

// during returns what a function does from the beginning of a work until it has done it.
func (b *bookkeeping) during(folder string, work func(), done func(cost.Run) bool) cost.Run {
	b.t.Helper()
	before, _ := b.soFar(folder)
	work()
	var used, last cost.Run
	b.eventually(folder+" is done", func() bool {
		now, busy := b.soFar(folder)
		last, used = used, now.Minus(before)
		// The lines of the log arrive a little later.
		return !busy && done(used) && reflect.DeepEqual(used, last)
	})
	return used
}

// once reports whether a function has run, for a work that takes one run.
func once(run cost.Run) bool { return run.Invocations > 0 }

// operation counts a request to the API. It makes two, and counts the second one: the function
// then runs, and knows the caller's key.
func (b *bookkeeping) operation(name, folder, method string, paths, bodies [2]string) (answers [2]map[string]any) {
	b.t.Helper()
	for i := range 2 {
		used := b.during(folder, func() {
			r := b.do(method, paths[i], bodies[i], nil)
			if answers[i] = r.body; r.status != http.StatusOK {
				b.t.Fatalf("%s: %d %s", name, r.status, r.text)
			}
		}, once)
		if i == 1 {
			b.result.Operations = append(b.result.Operations, cost.Work{Name: name, Units: 1, Requests: 1, Runs: []cost.Run{used}})
		}
	}
	return answers
}

// operations counts each operation of the API.
func (b *bookkeeping) operations() {
	both := func(text string) [2]string { return [2]string{text, text} }
	each := func(prefix string, of [2]map[string]any, suffix string) (paths [2]string) {
		for i, one := range of {
			paths[i] = regional + prefix + one["id"].(string) + suffix
		}
		return paths
	}
	none, namespaces, containers, triggers := both(""), both(regional+"/namespaces"), both(regional+"/containers"), both(regional+"/triggers")
	ns := b.operation("create a namespace", "create-namespace", http.MethodPost, namespaces, both(`{"name":"shop"}`))
	b.operation("get a namespace", "get-namespace", http.MethodGet, each("/namespaces/", ns, ""), none)
	b.operation("list namespaces", "list-namespace", http.MethodGet, namespaces, none)
	b.operation("update a namespace", "update-namespace", http.MethodPatch, each("/namespaces/", ns, ""), both(`{"description":"new"}`))
	in := func(i int) string {
		return fmt.Sprintf(`{"name":"jobs","namespace_id":%q,"public_endpoint":"https://jobs.example.com"}`, ns[i]["id"])
	}
	c := b.operation("create a container", "create-container", http.MethodPost, containers, [2]string{in(0), in(1)})
	b.operation("get a container", "get-container", http.MethodGet, each("/containers/", c, ""), none)
	b.operation("list containers", "list-container", http.MethodGet, containers, none)
	b.operation("update a container", "update-container", http.MethodPatch, each("/containers/", c, ""), both(`{"description":"new"}`))
	on := func(i int) string {
		return fmt.Sprintf(`{"name":"nightly","container_id":%q,"cron_config":{"schedule":"@yearly"}}`, c[i]["id"])
	}
	tr := b.operation("create a trigger", "create-trigger", http.MethodPost, triggers, [2]string{on(0), on(1)})
	for _, one := range tr {
		b.expectReady(one["id"].(string))
	}
	b.operation("get a trigger", "get-trigger", http.MethodGet, each("/triggers/", tr, ""), none)
	b.operation("list triggers", "list-trigger", http.MethodGet, triggers, none)
	b.operation("update a trigger", "update-trigger", http.MethodPatch, each("/triggers/", tr, ""), both(`{"description":"new"}`))
	b.operation("pause a trigger", "pause-trigger", http.MethodPost, each("/triggers/", tr, "/pause"), both("{}"))
	b.operation("resume a trigger", "resume-trigger", http.MethodPost, each("/triggers/", tr, "/resume"), both("{}"))
	b.operation("next runs", "next-runs", http.MethodGet, each("/triggers/", tr, "/next-runs"), none)
	b.operation("preview a schedule", "preview-schedule", http.MethodPost, both(regional+"/preview-schedule"), both(`{"schedule":"@daily"}`))
	b.operation("list runs", "list-run", http.MethodGet, both(regional+"/trigger-runs?trigger_id="+tr[0]["id"].(string)), none)
	b.operation("delete a trigger", "delete-trigger", http.MethodDelete, each("/triggers/", tr, ""), none)
	b.operation("delete a container", "delete-container", http.MethodDelete, each("/containers/", c, ""), none)
	b.operation("delete a namespace", "delete-namespace", http.MethodDelete, each("/namespaces/", ns, ""), none)
	b.eventually("the namespaces are gone", func() bool {
		return b.do(http.MethodGet, each("/namespaces/", ns, "")[1], "", nil).status == http.StatusNotFound
	})
}

// changes counts what reconcile does. What it does for a NATS trigger depends on who comes first,
// it or the relay.
func (b *bookkeeping) changes() {
	q := b.createQueue(nil)
	for _, source := range []struct{ name, config string }{
		{"cron", `"cron_config":{"schedule":"@yearly"}`},
		{"queue", fmt.Sprintf(`"sqs_config":{"endpoint":%q,"queue_url":%q,"access_key_id":%q,"secret_access_key":%q}`, q.endpoint, q.url, q.accessKey, q.secretKey)},
	} {
		var id string
		count := func(name string, work func()) {
			// It sends Trigger Changed, and in the end Trigger Ready or Trigger Deleted.
			used := b.during("reconcile", work, func(run cost.Run) bool { return run.Calls["events.PutEvents"] == 2 })
			b.result.Operations = append(b.result.Operations, cost.Work{Name: "`reconcile`: " + name + " a " + source.name + " trigger", Units: 1, Runs: []cost.Run{used}})
		}
		count("create", func() {
			r := b.do(http.MethodPost, regional+"/triggers", fmt.Sprintf(`{"name":"n","container_id":%q,%s}`, b.containerID, source.config), nil)
			if r.status != http.StatusOK {
				b.t.Fatalf("%s: %d %s", source.name, r.status, r.text)
			}
			id = r.body["id"].(string)
			b.expectReady(id)
		})
		count("delete", func() { b.delete(id) })
	}
}

// waits are the times that containers take in the tables. The work is the same.
var waits = []time.Duration{200 * time.Millisecond, time.Second}

// cron counts an occurrence: the second one, when the function runs.
func (b *bookkeeping) cron() {
	for _, privacy := range []string{"public", "private"} {
		fields := map[string]any{"name": privacy, "public_endpoint": b.endpoint}
		if privacy == "private" {
			fields["privacy"], fields["invoke_token"] = "private", "costs-"+b.organization
		}
		id := b.do(http.MethodPost, regional+"/triggers", fmt.Sprintf(
			`{"name":"each-minute","container_id":%q,"cron_config":{"schedule":"* * * * *"}}`, b.createContainer(fields)), nil).body["id"].(string)
		b.expectReady(id)
		occurs := func() {
			b.aMinutePasses()
			b.nextCall()
		}
		b.during("dispatch-schedule", occurs, once)
		runs := []cost.Run{b.during("dispatch-schedule", occurs, once)}
		for _, takes := range waits {
			b.takes(cost.Work{
				Name: fmt.Sprintf("cron calls of a %s container, %s", privacy, takes), Units: 1, Occurrences: 1, Runs: runs,
				Raw: cost.RawCron(), RawName: "Scheduler, an event and an API destination",
			}, takes)
		}
		b.delete(id)
	}
}

// takes adds a work whose runs wait for a container.
func (b *bookkeeping) takes(w cost.Work, takes time.Duration) {
	runs := make([]cost.Run, len(w.Runs))
	for i, run := range w.Runs {
		runs[i] = run
		runs[i].Waits = takes
	}
	w.Runs = runs
	b.result.Calls = append(b.result.Calls, w)
}

// queues counts messages of queues, each with what the first batch of a queue takes.
func (b *bookkeeping) queues() {
	for _, test := range []struct {
		name     string
		messages int
		fifo     bool
	}{{"messages of a queue in full batches", 10, false}, {"single messages of a queue", 1, false}, {"messages of a FIFO queue", 1, true}} {
		attributes := map[string]string{}
		if test.fifo {
			attributes = map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"}
		}
		q := b.createQueue(attributes)
		id := b.createSQS("costs", q.config()).ID
		b.expectReady(id)
		used := b.during("dispatch-queue", func() {
			var entries []sqstypes.SendMessageBatchRequestEntry
			for i := range test.messages {
				entry := sqstypes.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), MessageBody: aws.String(fmt.Sprint(i))}
				if test.fifo {
					entry.MessageGroupId = aws.String("g")
				}
				entries = append(entries, entry)
			}
			if _, err := q.client.SendMessageBatch(b.t.Context(), &sqs.SendMessageBatchInput{QueueUrl: &q.url, Entries: entries}); err != nil {
				b.t.Fatal(err)
			}
			for range test.messages {
				b.nextCall()
			}
		}, once)
		used.Lines = 0 // there is one a minute
		// A poller receives the batch, and Lambda deletes it.
		b.takes(cost.Work{
			Name: test.name + ", 200ms", Units: test.messages, Polls: 2, FIFO: test.fifo, Runs: []cost.Run{used},
			Raw: cost.RawQueue(test.messages, waits[0], test.fifo), RawName: "Lambda with 128 MB",
		}, waits[0])
		b.delete(id)
	}
}

// nats makes sure that a message costs no call of AWS.
func (b *bookkeeping) nats() {
	id := b.createNATS("costs", b.NATSURL(), "costs.messages").ID
	b.expectReady(id)
	const messages = 200
	conn := b.connect(b.NATSURL())
	before := b.Used("relay")
	for range messages {
		if err := conn.Publish("costs.messages", []byte("x")); err != nil {
			b.t.Fatal(err)
		}
	}
	for range messages {
		b.nextCall()
	}
	used := cost.Run{Calls: b.Used("relay").Minus(before).Calls}
	if used.RoundTrips() > messages/4 { // the relay renews its lease meanwhile
		b.t.Errorf("%d messages took %v", messages, used.Calls)
	}
	b.delete(id)
}

// idle counts a minute without calls, as soon as sweep has nothing left to do for the triggers.
func (b *bookkeeping) idle(triggers int) {
	b.t.Helper()
	for i := range triggers {
		b.expectReady(b.createCron(fmt.Sprintf("idle-%d", i), "@yearly", "UTC").ID)
	}
	var minute []cost.Run
	metrics := 0
	for _, folder := range []string{"sweep", "watch"} {
		run := func() {
			b.beginAnew()
			if _, err := b.Invoke(context.Background(), folder, []byte("{}")); err != nil {
				b.t.Fatal(err)
			}
		}
		var did cost.Run
		var before int
		// sweep reads each schedule that was changed lately.
		for end := time.Now().Add(deadline); time.Now().Before(end); {
			b.during(folder, run, once)
			before = len(b.logged())
			if did = b.during(folder, run, once); did.Calls["scheduler.GET"] <= 1 {
				break
			}
		}
		minute = append(minute, did)
		for line := range strings.Lines(b.logged()[before:]) {
			if _, text, ours := strings.Cut(line, folder+"| "); ours {
				metrics += metricsIn(b.t, text)
			}
		}
	}
	b.t.Logf("a minute without calls: %+v", minute)
	b.result.Idle = append(b.result.Idle, cost.Idle{
		Name: fmt.Sprintf("%d triggers", triggers), EachMinute: minute, Metrics: metrics, Pollers: 5,
		Mappings: len(regexp.MustCompile(`Type: AWS::Lambda::EventSourceMapping`).FindAll(b.template(), -1)),
	})
}

// beginAnew has the next run of sweep begin with the first trigger.
func (b *bookkeeping) beginAnew() {
	b.t.Helper()
	if _, err := dynamodb.NewFromConfig(b.AWSConfig()).DeleteItem(b.t.Context(), &dynamodb.DeleteItemInput{
		TableName: aws.String(b.Function("sweep").Environment["CLAIMS_TABLE"]),
		Key:       map[string]types.AttributeValue{"name": &types.AttributeValueMemberS{Value: "sweep"}},
	}); err != nil {
		b.t.Fatal(err)
	}
}

// many is the number of triggers of the largest stack in the table, and compared how many of them
// a run of sweep compares.
const (
	many     = 10_000
	compared = 1_000
	// listed is how many schedules a request lists at most (EventBridge Scheduler API Reference,
	// "ListSchedules").
	listed = 100
)

// idleWithMany counts a minute with as many triggers as a run of sweep compares. The schedules of
// all others take requests to list them, and nothing else.
func (b *bookkeeping) idleWithMany() {
	b.t.Helper()
	id := b.createNATS("many", b.NATSURL(), "costs.many").ID // it has no schedule that the copies would miss
	b.expectReady(id)
	if r := b.do(http.MethodPost, regional+"/triggers/"+id+"/pause", "{}", nil); r.status != http.StatusOK {
		b.t.Fatalf("%d %s", r.status, r.text)
	}
	b.expectReady(id)
	db, table := dynamodb.NewFromConfig(b.AWSConfig()), b.Function("sweep").Environment["TRIGGERS_TABLE"]
	var row map[string]types.AttributeValue
	b.eventually("the relay has let go of the trigger", func() bool {
		found, err := db.GetItem(b.t.Context(), &dynamodb.GetItemInput{TableName: &table, Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}}})
		if err != nil {
			b.t.Fatal(err)
		}
		row = found.Item
		return row["relay"] == nil
	})
	for i := 0; i < compared; i += 25 {
		var copies []types.WriteRequest
		for range 25 {
			one := maps.Clone(row)
			one["id"] = &types.AttributeValueMemberS{Value: uuid.NewString()}
			copies = append(copies, types.WriteRequest{PutRequest: &types.PutRequest{Item: one}})
		}
		if _, err := db.BatchWriteItem(b.t.Context(), &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: copies}}); err != nil {
			b.t.Fatal(err)
		}
	}
	b.idle(0)
	last := &b.result.Idle[len(b.result.Idle)-1]
	last.Name = "10,000 triggers"
	last.EachMinute[0].Calls["scheduler.GET"] += many / listed
}

// metricsIn returns the number of metrics in a line of a log.
func metricsIn(t *testing.T, text string) (count int) {
	t.Helper()
	var line struct {
		AWS struct {
			CloudWatchMetrics []struct{ Metrics []struct{ Name string } }
		} `json:"_aws"`
	}
	if err := json.Unmarshal([]byte(text), &line); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, directive := range line.AWS.CloudWatchMetrics {
		count += len(directive.Metrics)
	}
	return count
}

func (b *bookkeeping) template() []byte {
	b.t.Helper()
	text, err := os.ReadFile("../../template.yaml")
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}
