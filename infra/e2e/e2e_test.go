// Package e2e shows that the whole works: the local cloud, with the stock
// Scaleway SDK as the client, or plain HTTP where the SDK is too polite.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"
	"github.com/scaleway/scaleway-sdk-go/scw"

	"containertriggers/infra/local/cloud"
	"containertriggers/infra/local/moto"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/auth"
)

// deadline is how long a test waits for what must come; it is only reached when
// something is broken.
const deadline = 3 * time.Minute

// world is a running local cloud with a clock that tests move.
type world struct {
	*cloud.Cloud
	mu    sync.Mutex
	shift time.Duration
	logs  bytes.Buffer
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.shift)
}

// moveTo moves the clock to a time.
func (w *world) moveTo(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shift = time.Until(at)
}

// nextMinute moves the clock to the next full minute. It looks and moves under
// one lock: the clock must not go back where two tests move it.
func (w *world) nextMinute() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now().Add(w.shift)
	w.shift += now.Truncate(time.Minute).Add(time.Minute).Sub(now)
}

func (w *world) log(function, line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs.WriteString(function + "| " + line + "\n")
}

func (w *world) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs.String()
}

// start starts a local cloud whose clock is off by shift, and whose runs of the
// relay last that long; 0 is as long as on AWS.
func start(shift, relayTime time.Duration) (*world, error) {
	w := prepare(shift)
	w.RelayTime = relayTime
	return w, w.Start(context.Background())
}

// prepare is a local cloud that is not started yet.
func prepare(shift time.Duration) *world {
	w := &world{shift: shift}
	w.Cloud = &cloud.Cloud{
		Root: "../..", Python: moto.Python(), Address: "127.0.0.1:0", Now: w.now,
		Endpoint: emulator, StackName: fmt.Sprintf("e2e-%d-%d", os.Getpid(), clouds.Add(1)),
		RetryDelay: 50 * time.Millisecond, MappingTime: time.Second, Log: w.log,
	}
	return w
}

// emulator is the endpoint of an AWS emulator to test on, empty for one that the
// tests start themselves.
var emulator = os.Getenv("AWS_ENDPOINT_URL")

// clouds counts the clouds: those on one emulator need names of their own.
var clouds atomic.Int64

// shared is the cloud of all tests that can live with others beside them.
var shared = sync.OnceValues(func() (*world, error) { return start(0, 0) })

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	code := m.Run()
	if w, err := shared(); err == nil {
		if wrong := miscounted(w, 3*time.Hour); wrong != nil {
			fmt.Printf("FAIL: these counts differ from their rows: %v\n", wrong)
			code = 1
		}
		w.Close()
		// A permission that is missing may be made up for by a retry or a sweep: no test
		// would notice.
		if denied := w.loggedOf("AccessDeniedException: " + w.StackName + "-"); denied != "" {
			fmt.Printf("FAIL: a function's role does not allow what the function does:\n%s", denied)
			code = 1
		}
	}
	if gaps := notShown(); gaps != "" {
		fmt.Printf("not shown on this emulator:\n%s", gaps)
		if emulator == "" {
			fmt.Println("FAIL: the tests' own emulator must show everything")
			code = 1
		}
	}
	os.Exit(code)
}

// miscounted returns the counts of a cloud that differ from their rows, or the error that keeps
// it from comparing them. It compares those that were not compared in the hour before that time
// from now.
func miscounted(w *world, from time.Duration) (wrong []any) {
	db, env := dynamodb.NewFromConfig(w.AWSConfig()), w.Function("sweep").Environment
	counts := store.Counts{Client: db, Table: env["COUNTS_TABLE"]}
	for after := ""; ; {
		found, next, err := counts.Recount(context.Background(), store.Triggers{Client: db, Table: env["TRIGGERS_TABLE"]},
			store.Containers{Client: db, Table: env["CONTAINERS_TABLE"]}, store.Namespaces{Client: db, Table: env["NAMESPACES_TABLE"]},
			after, time.Now().Add(from))
		if err != nil {
			return append(wrong, err)
		}
		if found != "" {
			wrong = append(wrong, found)
		}
		if after = next; next == "" {
			return wrong
		}
	}
}

// testBundle is a tenant of a cloud, with a container that records its calls.
type testBundle struct {
	*world
	t            *testing.T
	organization string
	secretKey    string
	api          *container.API
	containerID  string
	endpoint     string // the container's
	calls        chan call
	// answer is the status that the container gives; change it with setAnswer.
	answerMu sync.Mutex
	answer   int
}

// call is a request that the container got.
type call struct {
	method, uri string
	header      http.Header
	body        string
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	w, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return setupIn(t, w)
}

func setupIn(t *testing.T, w *world) *testBundle {
	t.Helper()
	b := &testBundle{world: w, t: t, organization: uuid.NewString(), calls: make(chan call, 1000), answer: http.StatusOK}
	b.secretKey = b.newKey(auth.Principal{OrganizationID: b.organization, DefaultProjectID: b.organization, PermissionSet: auth.FullAccess}, time.Time{})
	b.api = b.client(b.secretKey)

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.calls <- call{r.Method, r.URL.RequestURI(), r.Header, string(body)}
		b.answerMu.Lock()
		defer b.answerMu.Unlock()
		w.WriteHeader(b.answer)
	}))
	t.Cleanup(server.Close)
	b.endpoint = server.URL
	b.containerID = b.createContainer(map[string]any{"name": "c", "public_endpoint": b.endpoint})
	return b
}

func (b *testBundle) setAnswer(status int) {
	b.answerMu.Lock()
	defer b.answerMu.Unlock()
	b.answer = status
}

// newKey makes a key and gives its secret.
func (b *testBundle) newKey(caller auth.Principal, expires time.Time) string {
	b.t.Helper()
	key, secret := auth.NewKey(caller, b.t.Name(), time.Now(), expires)
	keys := store.Keys{Client: dynamodb.NewFromConfig(b.AWSConfig()), Table: b.Function("get-trigger").Environment["KEYS_TABLE"]}
	if err := keys.Create(b.t.Context(), key); err != nil {
		b.t.Fatal(err)
	}
	return string(secret)
}

// client is the stock SDK, as its users set it up.
func (b *testBundle) client(secretKey string) *container.API {
	b.t.Helper()
	client, err := scw.NewClient(
		scw.WithAPIURL(b.APIURL()), scw.WithAuth("SCWXXXXXXXXXXXXXXXXX", secretKey), scw.WithHTTPClient(exchanges),
		scw.WithDefaultRegion(scw.RegionFrPar), scw.WithDefaultOrganizationID(b.organization), scw.WithDefaultProjectID(b.organization),
	)
	if err != nil {
		b.t.Fatal(err)
	}
	return container.NewAPI(client)
}

// response is a plain HTTP answer.
type response struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// do sends a request as it is, with the tenant's key unless header says otherwise.
func (b *testBundle) do(method, path, body string, header map[string]string) response {
	b.t.Helper()
	// Not the test's context, which is over when it cleans up.
	request, err := http.NewRequestWithContext(context.Background(), method, b.APIURL()+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("X-Auth-Token", b.secretKey)
	request.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		request.Header.Set(name, value)
	}
	answer, err := exchanges.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	r := response{status: answer.StatusCode, header: answer.Header, text: string(text)}
	if err := json.Unmarshal(text, &r.body); err != nil {
		b.t.Fatalf("%s %s answers %d and no JSON: %s", method, path, r.status, text)
	}
	return r
}

const regional = "/containers/v1/regions/fr-par"

// createContainer registers a container and gives its ID.
func (b *testBundle) createContainer(fields map[string]any) string {
	b.t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		b.t.Fatal(err)
	}
	r := b.do(http.MethodPost, regional+"/containers", string(body), nil)
	if r.status != http.StatusOK {
		b.t.Fatalf("creating a container: %d %s", r.status, r.text)
	}
	id := r.body["id"].(string)
	b.t.Cleanup(func() { // with its triggers, which would fire for ever
		b.do(http.MethodDelete, regional+"/containers/"+id, "", nil)
	})
	return id
}

// createCron creates a cron trigger with the SDK.
func (b *testBundle) createCron(name, schedule, timezone string) *container.Trigger {
	b.t.Helper()
	created, err := b.api.CreateTrigger(&container.CreateTriggerRequest{
		ContainerID: b.containerID, Name: name,
		CronConfig: &container.CreateTriggerRequestCronConfig{Schedule: schedule, Timezone: timezone, Body: "of " + name},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return created
}

// wait waits as SDK users do, but asks more often.
func (b *testBundle) wait(id string) *container.Trigger {
	b.t.Helper()
	often, patience := 50*time.Millisecond, deadline
	settled, err := b.api.WaitForTrigger(&container.WaitForTriggerRequest{TriggerID: id, RetryInterval: &often, Timeout: &patience})
	if err != nil {
		b.t.Fatal(err)
	}
	return settled
}

// delete deletes a trigger and waits until it is gone.
func (b *testBundle) delete(id string) {
	b.t.Helper()
	if _, err := b.api.DeleteTrigger(&container.DeleteTriggerRequest{TriggerID: id}); err != nil {
		b.t.Fatal(err)
	}
	b.eventually("the trigger is gone", func() bool {
		_, err := b.api.GetTrigger(&container.GetTriggerRequest{TriggerID: id})
		return isNotFound(err)
	})
}

// nextCall waits for the container's next call.
func (b *testBundle) nextCall() call {
	b.t.Helper()
	select {
	case c := <-b.calls:
		return c
	case <-time.After(deadline):
		b.t.Fatalf("the container was not called; the functions say:\n%s", b.logged())
		return call{}
	}
}

// eventually asks until ok, or fails the test.
func (b *testBundle) eventually(what string, ok func() bool) {
	b.t.Helper()
	end := time.After(deadline)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			b.t.Fatalf("%s: not so after %s; the functions say:\n%s", what, deadline, b.logged())
		case <-tick.C:
		}
	}
}
