package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/faults"
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
	w.Build, w.RelayTime = folder, 30*time.Second // so that runs of the relay hand over
	w.Environment = map[string]string{"FAULTS_SEED": "1", "FAULTS_RATE": "0.1", "FAULTS_DEATHS": "0.005", "FAULTS_LONGEST": "100ms"}
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(1, 1))
	w.IndexLag = func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(random.Int64N(int64(longestLag)))
	}
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// longestLag is how long an index may lag behind its table. On AWS it is a fraction of a
// second, if nothing fails.
const longestLag = 500 * time.Millisecond

// TestModel_KeepsThePromisesUnderFaults lets callers create, change and delete triggers
// while AWS calls fail and functions die, and looks at what there is when all has
// come to rest.
func TestModel_KeepsThePromisesUnderFaults(t *testing.T) {
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
		m.sendToAll()
		m.rest("at rest with messages", m.check)
		rested := time.Since(began)
		m.tick()
		m.leave()
		runs++
		t.Logf("run %d: %d triggers, %d changes and %d messages in %s, at rest after %s, nothing left after %s",
			runs, len(m.triggers), m.made, len(m.messages.sent), acted, rested, time.Since(began))
	})
	w.report(t, runs)
}

// likely are the actions, each as often as it is likely to be drawn.
var likely = []string{
	"create on a schedule", "create on a schedule", "create on a queue", "create on a queue", "create on a subject",
	"create on a subject", "send", "send", "send", "send", "update", "update", "update",
	"several at once", "several at once", "delete", "delete the container", "somebody else deletes", "a minute passes", "sweep",
}

func (m *model) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"create on a schedule": m.createCron, "create on a queue": m.createSQS, "create on a subject": m.createNATS,
		"send": m.send, "update": m.update, "several at once": m.crowd,
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
	for _, kind := range []faults.Kind{faults.Throttle, faults.Unavailable, faults.Delay, faults.Drop, faults.Conflict, faults.Omit} {
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
	messages messages

	mu     sync.Mutex
	fired  map[string]map[time.Time]bool // by trigger, the minutes of its calls
	server *httptest.Server
	runs   store.Runs
}

// tracked is a trigger as the model knows it.
type tracked struct {
	id          string
	container   int
	source      trigger.Source
	description string // "" where it is one of several
	subject     string // of a NATS trigger
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
		fired: map[string]map[time.Time]bool{},
	}
	m.exact = newExactly(t, w)
	m.messages = newMessages(m)
	m.server = httptest.NewServer(http.HandlerFunc(m.serve))
	key, secret := auth.NewKey(auth.Principal{OrganizationID: m.organization, DefaultProjectID: m.organization, PermissionSet: auth.FullAccess}, "model", time.Now(), time.Time{})
	m.key = string(secret)
	keys := store.Keys{Client: m.exact.db, Table: w.Function("get-trigger").Environment["KEYS_TABLE"]}
	m.must(keys.Create(t.Context(), key))
	queues := sqs.NewFromConfig(w.AWSConfig())
	for range 2 {
		name := "model-" + uuid.NewString()
		created, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
		m.must(err)
		m.queues = append(m.queues, *created.QueueUrl)
	}
	m.queues = append(m.queues, m.queues[0]+"-is-not-there")
	m.runs = store.Runs{Client: m.exact.db, Table: w.Function("get-run").Environment["RUNS_TABLE"]}
	for i := range m.containers {
		m.newContainer(i)
	}
	return m
}

func (m *model) close() {
	m.messages.conn.Close()
	m.server.Close()
}

func (m *model) must(err error) {
	if err != nil {
		m.rt.Fatalf("%v", err)
	}
}

// serve is the container: it notes which occurrences and messages it is called for.
func (m *model) serve(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the call was cut off, so it does not count
	}
	if r.Header.Get("Ce-Type") != "containertriggers.cron" {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.messages.arrived[string(body)]++
		return
	}
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
