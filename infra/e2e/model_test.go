package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"containertriggers/infra/faults"
	"containertriggers/shared/auth"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

// The state-machine test is short by default; `make soak` says more.
func init() {
	for name, value := range map[string]string{"rapid.checks": "3", "rapid.steps": "25", "rapid.shrinktime": "0s", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
}

// startFaulty starts a local cloud whose functions have their AWS calls broken, and
// are killed, now and then.
func startFaulty(t *testing.T) *world {
	t.Helper()
	folder := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "lambda.norpc,faults", "-o", folder+"/", "./functions/...")
	build.Dir = "../.."
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building functions with faults: %v\n%s", err, output)
	}
	binaries, err := filepath.Glob(folder + "/*")
	if err != nil {
		t.Fatal(err)
	}
	// Where a cloud looks for them.
	for _, binary := range binaries {
		script := fmt.Sprintf("mv %[1]s %[1]s.binary && mkdir %[1]s && mv %[1]s.binary %[1]s/bootstrap", binary)
		if output, err := exec.CommandContext(t.Context(), "sh", "-c", script).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
	}
	w := prepare(0)
	w.Build = folder
	w.Environment = map[string]string{"FAULTS_SEED": "1", "FAULTS_RATE": "0.1", "FAULTS_DEATHS": "0.005", "FAULTS_LONGEST": "100ms"}
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// TestThePromisesHoldWhateverFails lets callers create, change and delete triggers
// while AWS calls fail and functions die, and looks at what there is when all has
// come to rest.
func TestThePromisesHoldWhateverFails(t *testing.T) {
	t.Parallel()
	w := startFaulty(t)
	runs, steps := 0, flag.Lookup("rapid.steps").Value.(flag.Getter).Get().(int)
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, rt, w)
		defer m.close()
		began := time.Now()
		for range steps {
			m.actions()[rapid.SampledFrom(likely).Draw(rt, "step")](rt)
		}
		acted := time.Since(began)
		m.rest("at rest", m.check)
		rested := time.Since(began)
		m.tick()
		m.leave()
		runs++
		t.Logf("run %d: %d triggers, %d changes in %s, at rest after %s, nothing left after %s", runs, len(m.triggers), m.made, acted, rested, time.Since(began))
	})
	w.report(t, runs)
}

// likely are the actions, each as often as it is likely to be drawn.
var likely = []string{
	"create on a schedule", "create on a schedule", "create on a queue", "create on a queue", "update", "update", "update",
	"several at once", "several at once", "delete", "delete the container", "somebody else deletes", "a minute passes", "sweep",
}

func (m *model) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"create on a schedule": m.createCron, "create on a queue": m.createSQS, "update": m.update, "several at once": m.crowd,
		"delete": m.delete, "delete the container": m.deleteContainer, "somebody else deletes": m.damage,
		"a minute passes": func(*rapid.T) { m.tick() }, "sweep": func(*rapid.T) { m.sweep() },
	}
}

// report tells what was injected.
func (w *world) report(t *testing.T, runs int) {
	t.Helper()
	kinds, calls := map[string]int{}, map[string]int{}
	for line := range strings.Lines(w.logged()) {
		_, text, _ := strings.Cut(line, "| ")
		var told struct{ Msg, Kind, Call string }
		if json.Unmarshal([]byte(text), &told) == nil && told.Msg == faults.Message {
			kinds[told.Kind]++
			calls[told.Call]++
		}
	}
	t.Logf("%d runs; injected by kind %v, by call %v", runs, kinds, calls)
	for _, kind := range []faults.Kind{faults.Throttle, faults.Unavailable, faults.Delay, faults.Drop} {
		if kinds[string(kind)] == 0 {
			t.Errorf("no call was broken by %s", kind)
		}
	}
}

// model knows what should be: which triggers were asked for, and what of them may
// be true.
type model struct {
	*world
	t  *testing.T
	rt *rapid.T

	organization, key string
	containers        [2]string
	queues            []string // URLs; the last one is of no queue
	made              int

	triggers map[string]*tracked
	exact    exactly

	mu       sync.Mutex
	fired    map[string]map[time.Time]bool // by trigger, the minutes of its calls
	server   *httptest.Server
	deadURL  string
	deadSeen map[string]map[time.Time]bool
}

// tracked is a trigger as the model knows it.
type tracked struct {
	id          string
	container   int
	source      trigger.Source
	description string // "" where it is one of several
	damaged     bool
	deleted     bool
	// goneAt is a time, by the cloud's clock, at which the row was gone.
	goneAt time.Time
}

// schedules are what triggers get; their descriptions begin with it, so that a row
// in which two updates are mixed is noticed.
var schedules = []string{"* * * * *", "0 0 1 * 1", "30 4 * * *", "*/7 * * * MON-FRI"}

func newModel(t *testing.T, rt *rapid.T, w *world) *model {
	m := &model{
		world: w, t: t, rt: rt, organization: uuid.NewString(), triggers: map[string]*tracked{},
		fired: map[string]map[time.Time]bool{}, deadSeen: map[string]map[time.Time]bool{},
	}
	m.exact = newExactly(t, w)
	m.server = httptest.NewServer(http.HandlerFunc(m.serve))
	key, secret := auth.NewKey(auth.Caller{OrganizationID: m.organization, DefaultProjectID: m.organization, PermissionSet: auth.FullAccess}, "model", time.Now(), time.Time{})
	m.key = string(secret)
	keys := table.Keys{Client: m.exact.db, Table: w.Function("get-trigger").Environment["KEYS_TABLE"]}
	m.must(keys.Create(t.Context(), key))
	queues := sqs.NewFromConfig(w.AWSConfig())
	for range 2 {
		name := "model-" + uuid.NewString()
		created, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
		m.must(err)
		m.queues = append(m.queues, *created.QueueUrl)
	}
	m.queues = append(m.queues, m.queues[0]+"-is-not-there")
	dead := deadLetterName(w)
	found, err := queues.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &dead})
	m.must(err)
	m.deadURL = *found.QueueUrl
	for i := range m.containers {
		m.newContainer(i)
	}
	return m
}

func (m *model) close() { m.server.Close() }

func (m *model) must(err error) {
	if err != nil {
		m.rt.Fatalf("%v", err)
	}
}

// serve is the container: it notes which occurrences it is called for.
func (m *model) serve(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	at, err := time.Parse(time.RFC3339Nano, r.Header.Get("Ce-Time"))
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := path.Base(r.Header.Get("Ce-Source"))
	if m.fired[id] == nil {
		m.fired[id] = map[time.Time]bool{}
	}
	m.fired[id][at.UTC()] = true
}

// ask makes a request that may fail by a fault, and so without anybody knowing
// what became of it.
func (m *model) ask(method, path string, body any) (status int, answer map[string]any, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequestWithContext(m.t.Context(), method, m.APIURL()+regional+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("X-Auth-Token", m.key)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, nil, err
	}
	switch status = response.StatusCode; status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return 0, nil, fmt.Errorf("%s %s is answered with %d %v", method, path, status, answer)
	}
	return status, answer, nil
}

func (m *model) call(method, path string, body any) (status int, answer map[string]any) {
	status, answer, err := m.ask(method, path, body)
	m.must(err)
	return status, answer
}

// died says whether a function was killed: API Gateway answers then, not we.
func died(answer map[string]any) bool { return answer["type"] == nil }

// until repeats a call until it is not broken.
func (m *model) until(method, path string, body any) (status int, answer map[string]any) {
	for {
		status, answer = m.call(method, path, body)
		if status < 500 && status != http.StatusTooManyRequests {
			return status, answer
		}
	}
}

func (m *model) newContainer(i int) {
	status, answer := m.until(http.MethodPost, "/containers", map[string]any{"name": "c", "public_endpoint": m.server.URL})
	if status != http.StatusOK {
		m.rt.Fatalf("creating a container: %d %v", status, answer)
	}
	m.containers[i] = answer["id"].(string)
}

func (m *model) row(id string) (trigger.Trigger, bool) {
	row, err := m.exact.triggers.Get(m.t.Context(), id)
	if errors.Is(err, table.ErrNotFound) {
		return trigger.Trigger{}, false
	}
	m.must(err)
	return row, true
}

// create asks for a trigger, and finds out what became of it.
func (m *model) create(source trigger.Source, container int, config map[string]any) {
	m.made++
	name := fmt.Sprintf("%s-%d", m.organization, m.made)
	body := map[string]any{"name": name, "container_id": m.containers[container], "description": fmt.Sprint(config["schedule"], " #", m.made), string(source) + "_config": config}
	status, answer := m.call(http.MethodPost, "/triggers", body)
	added := func(id string) {
		m.triggers[id] = &tracked{id: id, container: container, source: source, description: body["description"].(string)}
	}
	if status == http.StatusOK {
		added(answer["id"].(string))
		return
	}
	for _, row := range m.exact.rows(m.rt) {
		if row.Name != name {
			continue
		}
		if !died(answer) {
			m.rt.Fatalf("a create that took effect was answered with %d %v", status, answer)
		}
		added(row.ID)
	}
}

func (m *model) createCron(rt *rapid.T) {
	m.create(trigger.SourceCron, rapid.IntRange(0, 1).Draw(rt, "container"), map[string]any{
		"schedule": rapid.SampledFrom(schedules).Draw(rt, "schedule"), "timezone": "Europe/Paris",
	})
}

func (m *model) createSQS(rt *rapid.T) {
	m.create(trigger.SourceSQS, rapid.IntRange(0, 1).Draw(rt, "container"), m.queueConfig(rapid.SampledFrom(m.queues).Draw(rt, "queue")))
}

func (m *model) queueConfig(url string) map[string]any {
	return map[string]any{"endpoint": m.AWSEndpoint(), "queue_url": url, "access_key_id": "local", "secret_access_key": "local"}
}

// pick draws a trigger that was not deleted; false where there is none.
func (m *model) pick(rt *rapid.T) (*tracked, bool) {
	var ids []string
	for id, known := range m.triggers {
		if !known.deleted {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, false
	}
	slices.Sort(ids)
	return m.triggers[rapid.SampledFrom(ids).Draw(rt, "trigger")], true
}

// patch is a change of a trigger that is told by its description.
func (m *model) patch(rt *rapid.T, known *tracked) (body map[string]any, description string) {
	m.made++
	if known.source == trigger.SourceSQS {
		description = fmt.Sprintf("queue #%d", m.made)
		return map[string]any{"description": description, "sqs_config": m.queueConfig(rapid.SampledFrom(m.queues).Draw(rt, "queue"))}, description
	}
	schedule := rapid.SampledFrom(schedules).Draw(rt, "schedule")
	description = fmt.Sprint(schedule, " #", m.made)
	return map[string]any{"description": description, "cron_config": map[string]any{"schedule": schedule}}, description
}

func (m *model) update(rt *rapid.T) {
	known, ok := m.pick(rt)
	if !ok {
		return
	}
	body, description := m.patch(rt, known)
	status, answer := m.call(http.MethodPatch, "/triggers/"+known.id, body)
	switch {
	case status == http.StatusOK:
		known.description = description
	case status >= 500 || status == http.StatusTooManyRequests:
		m.learn(known, []string{known.description, description})
	default:
		m.rt.Fatalf("updating a trigger that is there: %d %v", status, answer)
	}
}

// learn finds out which of several outcomes came true.
func (m *model) learn(known *tracked, may []string) {
	row, there := m.row(known.id)
	switch {
	case !there || row.Status == trigger.Deleting:
		known.deleted = true
	case !slices.Contains(may, row.Description):
		m.rt.Fatalf("the description is %q, and none of %q", row.Description, may)
	default:
		known.description = row.Description
	}
}

// crowd has several callers change one trigger at the same time.
func (m *model) crowd(rt *rapid.T) {
	known, ok := m.pick(rt)
	if !ok {
		return
	}
	type change struct {
		method string
		body   map[string]any
	}
	var changes []change
	may, deletes := []string{known.description}, false
	for range rapid.IntRange(2, 5).Draw(rt, "callers") {
		if rapid.IntRange(0, 9).Draw(rt, "delete") == 0 {
			changes = append(changes, change{http.MethodDelete, nil})
			deletes = true
			continue
		}
		body, description := m.patch(rt, known)
		may = append(may, description)
		changes = append(changes, change{http.MethodPatch, body})
	}
	var callers sync.WaitGroup
	var mu sync.Mutex
	var failure error
	took, deleted := false, false
	for _, c := range changes {
		callers.Go(func() {
			status, _, err := m.ask(c.method, "/triggers/"+known.id, c.body)
			mu.Lock()
			defer mu.Unlock()
			failure = errors.Join(failure, err)
			took = took || status == http.StatusOK
			deleted = deleted || status == http.StatusOK && c.method == http.MethodDelete
		})
	}
	callers.Wait()
	m.must(failure)
	if took && !deleted {
		may = may[1:] // one of the others came after it
	}
	m.learn(known, may)
	if deleted && !known.deleted || known.deleted && !deletes {
		m.rt.Fatalf("deleted is %t, and a caller's delete was answered with 200: %t, asked for: %t", known.deleted, deleted, deletes)
	}
}

func (m *model) delete(rt *rapid.T) {
	known, ok := m.pick(rt)
	if !ok {
		return
	}
	if status, _ := m.until(http.MethodDelete, "/triggers/"+known.id, nil); status != http.StatusOK && status != http.StatusNotFound {
		m.rt.Fatalf("deleting: %d", status)
	}
	known.deleted = true
}

// deleteContainer deletes the second container with its triggers, and makes another.
func (m *model) deleteContainer(rt *rapid.T) {
	if rapid.IntRange(0, 2).Draw(rt, "rarely") > 0 {
		return
	}
	m.until(http.MethodDelete, "/containers/"+m.containers[1], nil)
	for _, known := range m.triggers {
		if known.container == 1 {
			known.deleted = true
		}
	}
	m.newContainer(1)
}

// damage deletes a schedule or a mapping behind the service's back.
func (m *model) damage(rt *rapid.T) {
	known, ok := m.pick(rt)
	if !ok {
		return
	}
	row, there := m.row(known.id)
	if !there || row.Status != trigger.Ready || !row.Settled() {
		return
	}
	known.damaged = true
	if known.source == trigger.SourceCron {
		m.must(m.exact.sources.Schedules.Remove(m.t.Context(), row))
		return
	}
	held, err := m.exact.claims.Held(m.t.Context(), known.id)
	m.must(err)
	for _, mapped := range m.exact.mappings(m.rt) {
		if slices.Contains(held, mapped.QueueARN) {
			m.must(m.exact.sources.Queues.Mappings.Delete(m.t.Context(), mapped))
		}
	}
}

// sweep runs the function, which may be killed as well.
func (m *model) sweep() { _, _ = m.Invoke(m.t.Context(), "sweep", []byte("{}")) }

// tick lets a minute pass, and waits until each trigger that was ready and due has
// been called or is in the dead-letter queue.
func (m *model) tick() {
	m.noteGone()
	var due []string
	for id, known := range m.triggers {
		row, there := m.row(id)
		if there && !known.deleted && !known.damaged && row.Cron != nil && row.Cron.Schedule == schedules[0] && row.Status == trigger.Ready && row.Settled() {
			due = append(due, id)
		}
	}
	m.nextMinute()
	minute := m.now().UTC().Truncate(time.Minute)
	m.await("each occurrence is delivered or kept", 20*time.Millisecond, func() {}, func() error {
		m.readDead()
		for _, id := range due {
			m.mu.Lock()
			arrived := m.fired[id][minute] || m.deadSeen[id][minute]
			m.mu.Unlock()
			if !arrived {
				return fmt.Errorf("trigger %s was not called for %s", id, minute)
			}
		}
		return nil
	})
}

// noteGone notes which rows are gone by now.
func (m *model) noteGone() {
	for id, known := range m.triggers {
		if !known.deleted || !known.goneAt.IsZero() {
			continue
		}
		if _, there := m.row(id); !there {
			known.goneAt = m.now()
		}
	}
}

// readDead takes what was given up from the dead-letter queue.
func (m *model) readDead() {
	queues := sqs.NewFromConfig(m.AWSConfig())
	for {
		page, err := queues.ReceiveMessage(m.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &m.deadURL, MaxNumberOfMessages: 10})
		m.must(err)
		if len(page.Messages) == 0 {
			return
		}
		for _, message := range page.Messages {
			var record struct {
				RequestPayload struct {
					TriggerID     string    `json:"trigger_id"`
					ScheduledTime time.Time `json:"scheduled_time"`
				}
			}
			m.must(json.Unmarshal([]byte(*message.Body), &record))
			m.mu.Lock()
			id := record.RequestPayload.TriggerID
			if m.deadSeen[id] == nil {
				m.deadSeen[id] = map[time.Time]bool{}
			}
			m.deadSeen[id][record.RequestPayload.ScheduledTime.UTC().Truncate(time.Minute)] = true
			m.mu.Unlock()
			_, err := queues.DeleteMessage(m.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &m.deadURL, ReceiptHandle: message.ReceiptHandle})
			m.must(err)
		}
	}
}

// sweepEvery is how often there is a sweep while all comes to rest: each has
// reconcile look at what is in error again, for which there must be time.
const sweepEvery = 3 * time.Second

// rest waits, with sweeps, until something is so.
func (m *model) rest(what string, ok func() error) {
	m.sweep()
	swept := time.Now()
	m.await(what, 100*time.Millisecond, func() {
		if time.Since(swept) > sweepEvery {
			m.sweep()
			swept = time.Now()
		}
	}, ok)
}

func (m *model) await(what string, every time.Duration, meanwhile func(), ok func() error) {
	end := time.Now().Add(3 * deadline)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			m.rt.Fatalf("%s: %v\nthe functions said last:\n%s", what, err, m.lastLines(60))
		}
		meanwhile()
		<-ticker.C
	}
}

// lastLines are the last lines of the functions' logs, but for the sweeps'.
func (w *world) lastLines(n int) string {
	lines := slices.DeleteFunc(strings.Split(w.logged(), "\n"), func(line string) bool { return strings.HasPrefix(line, "sweep|") })
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// check is nil where all there is agrees with the model.
func (m *model) check() error {
	m.noteGone()
	for id, known := range m.triggers {
		row, there := m.row(id)
		switch {
		case known.deleted != !there:
			return fmt.Errorf("trigger %s: there is a row: %t, it was deleted: %t", id, there, known.deleted)
		case !there:
			continue
		case row.Description != known.description:
			return fmt.Errorf("trigger %s: the description is %q, want %q", id, row.Description, known.description)
		case row.Cron != nil && !strings.HasPrefix(row.Description, row.Cron.Schedule+" #"):
			return fmt.Errorf("trigger %s: two updates were mixed: %q has the schedule %q", id, row.Description, row.Cron.Schedule)
		case row.Status.Transient() || !row.Settled():
			return fmt.Errorf("trigger %s is %s, settled %t", id, row.Status, row.Settled())
		}
		known.damaged = false
	}
	if err := m.neverAfterItWasGone(); err != nil {
		m.rt.Fatalf("%v", err)
	}
	return m.exact.agree(m.rt, m.queues[len(m.queues)-1])
}

func (m *model) neverAfterItWasGone() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, known := range m.triggers {
		for minute := range m.fired[id] {
			if !known.goneAt.IsZero() && minute.After(known.goneAt) {
				return fmt.Errorf("trigger %s was called for %s, and gone at %s", id, minute, known.goneAt)
			}
		}
	}
	return nil
}

// leave deletes the containers, and waits until nothing at all is left.
func (m *model) leave() {
	for _, id := range m.containers {
		m.until(http.MethodDelete, "/containers/"+id, nil)
	}
	for _, known := range m.triggers {
		known.deleted = true
	}
	m.rest("nothing is left", func() error {
		if err := m.check(); err != nil {
			return err
		}
		return m.exact.empty(m.rt)
	})
	m.tick()
	m.must(m.neverAfterItWasGone())
}

func deadLetterName(w *world) string {
	arn := w.Function("reconcile").Environment["SCHEDULE_DLQ_ARN"]
	return arn[strings.LastIndex(arn, ":")+1:]
}
