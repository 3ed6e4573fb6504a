package lambda_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/lambda"
	"containertriggers/infra/local/moto/mototest"
)

type testBundle struct {
	*lambda.Host
	t    *testing.T
	mu   sync.Mutex
	logs []string
}

// setup makes a host with the probe function, as "probe".
func setup(t *testing.T, change func(*lambda.Function)) *testBundle {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "bootstrap")
	build := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", binary, "./testdata/probe")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
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
	f := lambda.Function{
		Name: "probe", ARN: "arn:aws:lambda:us-east-1:123456789012:function:probe", Binary: binary,
		Environment: map[string]string{"MINE": "1"}, Timeout: time.Minute, MemoryMB: 128,
		Retries: lambda.DefaultRetries, MaxAge: lambda.DefaultMaxAge,
	}
	if change != nil {
		change(&f)
	}
	b.Add(f, "label")
	return b
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

func TestFunctionRunsWithItsOwnEnvironmentAlone(t *testing.T) {
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

func TestFailuresAreToldInLambdasWords(t *testing.T) {
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

func TestFunctionThatTakesTooLongIsKilled(t *testing.T) {
	t.Parallel()
	b := setup(t, func(f *lambda.Function) { f.Timeout = 300 * time.Millisecond })
	b.expectFailure("sleep", "Sandbox.Timedout", "Task timed out after 0.30 seconds")
}

func TestFunctionThatCannotStartIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t, func(f *lambda.Function) { f.Environment["BREAK"] = "init" })
	b.expectFailure("count", "Runtime.ExitError", "exit status 3")
	if !strings.Contains(b.logged(), "cannot start") {
		t.Errorf("got %s", b.logged())
	}
}

func TestParallelInvocationsRunInEnvironmentsOfTheirOwn(t *testing.T) {
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

func TestAsynchronousInvocationIsRetriedUnderItsIDAndThenKept(t *testing.T) {
	t.Parallel()
	name := "failed-" + uuid.NewString()
	queues := sqs.NewFromConfig(mototest.Config(t))
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, func(f *lambda.Function) { f.OnFailure = "arn:aws:sqs:us-east-1:123456789012:" + name })
	if err := b.InvokeAsync("probe", []byte(`"id"`)); err != nil {
		t.Fatal(err)
	}
	answer, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, WaitTimeSeconds: 20})
	if err != nil || len(answer.Messages) != 1 {
		t.Fatalf("got %v, %v", answer, err)
	}
	var record struct {
		RequestContext struct {
			RequestID, FunctionArn, Condition string
			ApproximateInvokeCount            int
		}
		RequestPayload  string
		ResponsePayload lambda.Error
	}
	if err := json.Unmarshal([]byte(*answer.Messages[0].Body), &record); err != nil {
		t.Fatal(err)
	}
	if c := record.RequestContext; c.Condition != "RetriesExhausted" || c.ApproximateInvokeCount != 3 || !strings.HasSuffix(c.FunctionArn, ":probe:$LATEST") {
		t.Errorf("got %+v", c)
	}
	if record.RequestPayload != "id" || record.ResponsePayload.Message != "no" {
		t.Errorf("got %+v", record)
	}
	if got := strings.Count(b.logged(), "id "+record.RequestContext.RequestID); got != 3 {
		t.Errorf("the request ID was used %d times, want 3: %s", got, b.logged())
	}
}
