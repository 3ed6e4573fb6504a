package lambda_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/child"
	"containertriggers/infra/local/lambda"
	"containertriggers/infra/local/moto/mototest"
)

type testBundle struct {
	*lambda.Host
	t        *testing.T
	function lambda.Function
	holding  net.Listener // what "hold" connects to
	mu       sync.Mutex
	logs     []string
}

// probe builds the probe function in a folder of its own.
var probe = sync.OnceValues(func() (folder string, err error) {
	if folder, err = os.MkdirTemp("", "probe"); err != nil {
		return "", err
	}
	// The flags of the Makefile: what they compile is in the cache already.
	build := exec.Command("go", "build", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-trimpath", "-o", filepath.Join(folder, "bootstrap"), "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("building the probe: %w: %s", err, output)
	}
	return folder, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if folder, _ := probe(); folder != "" {
		_ = os.RemoveAll(folder)
	}
	os.Exit(code)
}

// setup makes a host with the probe function, as "probe".
func setup(t *testing.T, change func(*lambda.Function)) *testBundle {
	t.Helper()
	folder, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	b := &testBundle{t: t}
	b.Host = &lambda.Host{
		Queues: sqs.NewFromConfig(mototest.Config(t)), RetryDelay: time.Millisecond,
		Environment: map[string]string{"AWS_REGION": "us-east-1"},
		Log: func(function, line string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.logs = append(b.logs, function+": "+line)
		},
	}
	b.Start()
	t.Cleanup(b.Close)
	if b.holding, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.holding.Close() })
	b.function = lambda.Function{
		Name: "probe", ARN: "arn:aws:lambda:us-east-1:123456789012:function:probe", Binary: filepath.Join(folder, "bootstrap"),
		Environment: map[string]string{"MINE": "1", "HOLD": b.holding.Addr().String()}, Timeout: time.Minute, MemoryMB: 128,
		Retries: lambda.DefaultRetries, MaxAge: lambda.DefaultMaxAge,
	}
	if change == nil {
		change = func(*lambda.Function) {}
	}
	b.change(change)
	return b
}

// change adds the function as it is after a change.
func (b *testBundle) change(change func(*lambda.Function)) {
	change(&b.function)
	b.Add(b.function, "label")
}

// hold starts an invocation, and returns when it runs. It runs until release.
func (b *testBundle) hold() (release func()) {
	b.t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = b.Invoke(b.t.Context(), "probe", []byte(`"hold"`)) // the host may end first
	}()
	connection, err := b.holding.Accept()
	if err != nil {
		b.t.Fatal(err)
	}
	return func() {
		_ = connection.Close()
		<-ended
	}
}

func (b *testBundle) expectThrottled(reason string) {
	b.t.Helper()
	_, err := b.invoke("count")
	if throttled, ok := errors.AsType[*lambda.ThrottledError](err); !ok || throttled.Reason != reason {
		b.t.Errorf("got %v, want %s", err, reason)
	}
	if !strings.Contains(b.logged(), "label: THROTTLED RequestId: ") {
		b.t.Errorf("the log does not tell: %s", b.logged())
	}
}

// eventually polls until ok, or fails the test.
func (b *testBundle) eventually(what string, ok func() bool) {
	b.t.Helper()
	end := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			b.t.Fatalf("%s: not so after 30 s; the log says: %s", what, b.logged())
		case <-tick.C:
		}
	}
}

func (b *testBundle) invoke(what string) (string, error) {
	b.t.Helper()
	payload, err := json.Marshal(what)
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := b.Invoke(b.t.Context(), "probe", payload)
	var text string
	if err == nil {
		err = json.Unmarshal(answer, &text)
	}
	return text, err
}

func (b *testBundle) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.logs, "\n")
}

func (b *testBundle) expectFailure(what, kind, message string) {
	b.t.Helper()
	_, err := b.invoke(what)
	failure, ok := errors.AsType[*lambda.Error](err)
	if !ok || failure.Type != kind || !strings.Contains(failure.Message, message) {
		b.t.Errorf("%s: got %v, want %s: %s", what, err, kind, message)
	}
	if !strings.Contains(b.logged(), "label: FAILED "+kind) {
		b.t.Errorf("%s: the log does not tell: %s", what, b.logged())
	}
}

func TestInvoke_RunsWithTheFunctionsOwnEnvironmentOnly(t *testing.T) {
	t.Setenv("OF_THE_PARENT", "1")
	b := setup(t, nil)
	environment, err := b.invoke("environment")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"MINE=1", "AWS_REGION=us-east-1", "AWS_LAMBDA_FUNCTION_NAME=probe", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128", "_HANDLER=bootstrap"} {
		if !strings.Contains(environment, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(environment, "OF_THE_PARENT") {
		t.Error("the parent's environment leaks in")
	}
	if arn, err := b.invoke("arn"); err != nil || arn != "arn:aws:lambda:us-east-1:123456789012:function:probe" {
		t.Errorf("got %s, %v", arn, err)
	}
	if count, err := b.invoke("count"); err != nil || count != "3" {
		t.Errorf("the environment is not used again: got call %s, %v", count, err)
	}
}

func TestInvoke_ReportsFailuresLikeLambda(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.expectFailure("crash", "Runtime.ExitError", "Runtime exited with error: exit status 7")
	if !strings.Contains(b.logged(), "label: last words") {
		t.Errorf("what it wrote is lost: %s", b.logged())
	}
	b.expectFailure("huge", "Function.ResponseSizeTooLarge", "6291456 bytes")
	b.expectFailure("id", "errorString", "no")
	if count, err := b.invoke("count"); err != nil || count == "" {
		t.Errorf("after a crash: %v", err)
	}
	if _, err := b.Invoke(t.Context(), "nobody", nil); !errors.Is(err, lambda.ErrNoFunction) {
		t.Errorf("got %v", err)
	}
}

func TestInvoke_KillsAFunctionAtItsTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t, func(f *lambda.Function) { f.Timeout = 300 * time.Millisecond })
	b.expectFailure("sleep", "Sandbox.Timedout", "Task timed out after 0.30 seconds")
}

func TestInvoke_KillsAFunctionThatExceedsItsMemory(t *testing.T) {
	t.Parallel()
	if !child.TellsMemory {
		t.Fatal("only Linux tells how much memory a process has: run this test there")
	}
	b := setup(t, nil)
	for _, event := range []string{"memory and wait", "memory"} { // the second one has given it back
		if count, err := b.invoke("count"); err != nil || count != "1" {
			t.Errorf("before %q: got call %s of the environment, %v, want the first of a new one", event, count, err)
		}
		b.expectFailure(event, "Runtime.OutOfMemory", "Error: Runtime exited with error: signal: killed")
	}
	if want := "Memory Size: 128 MB Max Memory Used: 1"; strings.Count(b.logged(), want) != 2 {
		t.Errorf("%q is not logged twice: %s", want, b.logged())
	}
}

func TestInvoke_LimitsOpenFiles(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	answer, err := b.invoke("files")
	var opened int
	if _, scanErr := fmt.Sscan(answer, &opened); scanErr != nil || err != nil {
		t.Fatalf("got %q, %v", answer, err)
	}
	if opened < 900 || opened > 1024 || !strings.HasSuffix(answer, "too many open files") {
		t.Errorf("it opened %s", answer)
	}
}

func TestInvoke_ReportsAFunctionThatCannotStart(t *testing.T) {
	t.Parallel()
	b := setup(t, func(f *lambda.Function) { f.Environment["BREAK"] = "init" })
	b.expectFailure("count", "Runtime.ExitError", "exit status 3")
	if !strings.Contains(b.logged(), "cannot start") {
		t.Errorf("got %s", b.logged())
	}
}

func TestInvoke_GivesParallelInvocationsSeparateEnvironments(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() {
			if _, err := b.invoke("count"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// queue makes a queue and returns its ARN, and a function that waits for an invocation
// record in it.
func (b *testBundle) queue() (arn string, next func() record) {
	b.t.Helper()
	name := "failed-" + uuid.NewString()
	queue, err := b.Queues.CreateQueue(b.t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		b.t.Fatal(err)
	}
	return "arn:aws:sqs:us-east-1:123456789012:" + name, func() record {
		b.t.Helper()
		answer, err := b.Queues.ReceiveMessage(b.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, WaitTimeSeconds: 20})
		if err != nil || len(answer.Messages) != 1 {
			b.t.Fatalf("got %v, %v", answer, err)
		}
		var r record
		if err := json.Unmarshal([]byte(*answer.Messages[0].Body), &r); err != nil {
			b.t.Fatal(err)
		}
		return r
	}
}

// record is an invocation record.
type record struct {
	RequestContext struct {
		RequestID, FunctionArn, Condition string
		ApproximateInvokeCount            int
	}
	RequestPayload  string
	ResponseContext json.RawMessage
	ResponsePayload lambda.Error
}

func TestInvokeAsync_RetriesUnderTheSameIDAndThenDeadLetters(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	arn, next := b.queue()
	b.change(func(f *lambda.Function) { f.OnFailure = arn })
	if err := b.InvokeAsync("probe", []byte(`"id"`)); err != nil {
		t.Fatal(err)
	}
	got := next()
	if c := got.RequestContext; c.Condition != "RetriesExhausted" || c.ApproximateInvokeCount != 3 || !strings.HasSuffix(c.FunctionArn, ":probe:$LATEST") {
		t.Errorf("got %+v", c)
	}
	if got.RequestPayload != "id" || got.ResponsePayload.Message != "no" {
		t.Errorf("got %+v", got)
	}
	if got := strings.Count(b.logged(), "id "+got.RequestContext.RequestID); got != 3 {
		t.Errorf("the request ID was used %d times, want 3: %s", got, b.logged())
	}
}

func TestInvokeAsync_LogsWhatItDropsWithoutADestination(t *testing.T) {
	t.Parallel()
	b := setup(t, func(f *lambda.Function) { f.Retries = 0 })
	if err := b.InvokeAsync("probe", []byte(`"id"`)); err != nil {
		t.Fatal(err)
	}
	b.eventually("the drop is logged", func() bool {
		return strings.Contains(b.logged(), "(RetriesExhausted): there is no on-failure destination")
	})
	if got := strings.Count(b.logged(), "FAILED errorString"); got != 1 {
		t.Errorf("it ran %d times without retries", got)
	}
}

func TestInvoke_ThrottlesBeyondTheReservedConcurrency(t *testing.T) {
	t.Parallel()
	b := setup(t, func(f *lambda.Function) { f.Reserved = 1 })
	release := b.hold()
	b.expectThrottled("ReservedFunctionConcurrentInvocationLimitExceeded")
	if err := b.InvokeAsync("probe", []byte(`"id"`)); err != nil {
		t.Fatal(err)
	}
	release()
	b.eventually("the throttled event runs", func() bool { return strings.Contains(b.logged(), "FAILED errorString") })
	b.eventually("the function is free again", func() bool { _, err := b.invoke("count"); return err == nil })
}

func TestInvoke_ThrottlesBeyondWhatTheAccountHasUnreserved(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.Add(lambda.Function{Name: "reserving", Reserved: 999}, "reserving")
	release := b.hold()
	defer release()
	b.expectThrottled("ConcurrentInvocationLimitExceeded")
}

func TestInvokeAsync_GivesUpAThrottledEventAtItsMaximumAge(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	arn, next := b.queue()
	b.change(func(f *lambda.Function) { f.Reserved, f.MaxAge, f.OnFailure = 1, 300*time.Millisecond, arn })
	release := b.hold()
	defer release()
	if err := b.InvokeAsync("probe", []byte(`"id"`)); err != nil {
		t.Fatal(err)
	}
	got := next()
	if c := got.RequestContext; c.Condition != "EventAgeExceeded" || c.ApproximateInvokeCount != 0 || got.RequestPayload != "id" {
		t.Errorf("got %+v", got)
	}
	if got.ResponseContext != nil || got.ResponsePayload != (lambda.Error{}) {
		t.Errorf("it has a response although it never ran: %+v", got)
	}
}

func TestClose_SendsSIGTERMOnlyToAnIdleProcessWithAnExtension(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sigterm string // what the function does with SIGTERM; without, it has no extension
		busy    bool
		told    bool
	}{
		"no extension":                   {"", false, false},
		"an extension":                   {"obey", false, true},
		"an extension that does not end": {"ignore", false, true},
		"in an invocation":               {"obey", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(f *lambda.Function) { f.Environment["SIGTERM"] = test.sigterm })
			pid, err := b.invoke("process")
			if err != nil {
				t.Fatal(err)
			}
			if test.busy {
				defer b.hold()()
			} else {
				b.eventually("it is frozen", func() bool { return strings.HasPrefix(state(t, pid), "T") })
			}
			b.Close()
			if told := strings.Contains(b.logged(), "told to end"); told != test.told {
				t.Errorf("told: got %t, want %t", told, test.told)
			}
			if err := exec.CommandContext(t.Context(), "ps", "-p", pid).Run(); err == nil {
				t.Error("the process is still there")
			}
		})
	}
}
