package mapping

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/queue"
)

// testBundle is a queue on moto, with the guard before it, and the mappings on the
// two deployed dispatchers.
type testBundle struct {
	Mappings
	t      *testing.T
	client *lambda.Client
	states *states
	queue  queue.Queue
}

// states is an HTTP client that lets mappings be in other states than moto knows.
type states struct {
	mu sync.Mutex
	// next are what the next lists say instead of "Enabled".
	next []string
}

func (s *states) Do(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultClient.Do(request)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || len(s.next) == 0 || request.Method != http.MethodGet {
		return response, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	state, reason, _ := strings.Cut(s.next[0], ": ")
	s.next = s.next[1:]
	body = bytes.ReplaceAll(body, []byte(`"Enabled"`), []byte(`"`+state+`"`))
	if reason != "" {
		body = bytes.ReplaceAll(body, []byte(userInitiated), []byte(reason))
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	return response, nil
}

func setup(t *testing.T, visibility time.Duration, fifo bool) *testBundle {
	t.Helper()
	env := mototest.Environment(t, "reconcile")
	_, cfg := guardtest.Start(t)
	name, attributes := uuid.NewString(), map[string]string{"VisibilityTimeout": "900"}
	if fifo {
		name, attributes["FifoQueue"] = name+".fifo", "true"
	}
	if _, err := sqs.NewFromConfig(cfg).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes}); err != nil {
		t.Fatal(err)
	}
	b := &testBundle{t: t, states: &states{}, queue: queue.Queue{
		ARN: "arn:aws:sqs:us-east-1:123456789012:" + name, VisibilityTimeout: visibility, FIFO: fifo,
	}}
	cfg.HTTPClient = b.states
	b.client = lambda.NewFromConfig(cfg)
	b.Mappings = Mappings{
		Client: b.client, ShortARN: env["DISPATCH_QUEUE_ARN"], LongARN: env["DISPATCH_QUEUE_LONG_ARN"],
		Concurrency: 20, Patience: time.Second, Pause: time.Millisecond,
	}
	return b
}

// mapped gives the queue's mappings.
func (b *testBundle) mapped() []types.EventSourceMappingConfiguration {
	b.t.Helper()
	page, err := b.client.ListEventSourceMappings(b.t.Context(), &lambda.ListEventSourceMappingsInput{EventSourceArn: &b.queue.ARN})
	if err != nil {
		b.t.Fatal(err)
	}
	return page.EventSourceMappings
}

// expect wants one mapping, on a function, that is enabled.
func (b *testBundle) expect(function string) types.EventSourceMappingConfiguration {
	b.t.Helper()
	mapped := b.mapped()
	if len(mapped) != 1 || aws.ToString(mapped[0].FunctionArn) != function || aws.ToString(mapped[0].State) != "Enabled" {
		b.t.Fatalf("got %+v, want one enabled mapping on %s", mapped, function)
	}
	return mapped[0]
}

func TestTheDispatchersRunAsLongAsThisPackageSays(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.ShortRun, false)
	for function, want := range map[string]time.Duration{b.ShortARN: queue.ShortRun, b.LongARN: queue.LongRun} {
		described, err := b.client.GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &function})
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Duration(*described.Timeout) * time.Second; got != want {
			t.Errorf("%s runs for %s", function, got)
		}
	}
}

func TestAQueueIsMappedOnceOnTheFunctionThatSuitsIt(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.ShortRun, false)
	for range 2 {
		if err := b.Put(t.Context(), b.queue); err != nil {
			t.Fatal(err)
		}
	}
	mapping := b.expect(b.ShortARN)
	if aws.ToInt32(mapping.BatchSize) != 10 || aws.ToInt32(mapping.ScalingConfig.MaximumConcurrency) != 20 ||
		!slices.Contains(mapping.FunctionResponseTypes, types.FunctionResponseTypeReportBatchItemFailures) {
		t.Errorf("got %+v", mapping)
	}

	b.queue.VisibilityTimeout = queue.LongRun
	if err := b.Put(t.Context(), b.queue); err != nil {
		t.Fatal(err)
	}
	b.expect(b.LongARN)
	for range 2 {
		if err := b.Remove(t.Context(), b.queue.ARN); err != nil {
			t.Fatal(err)
		}
	}
	if mapped := b.mapped(); len(mapped) > 0 {
		t.Errorf("got %+v", mapped)
	}
}

func TestTheOtherFunctionsMappingGoesFirst(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.ShortRun, false)
	if err := b.Put(t.Context(), b.queue); err != nil {
		t.Fatal(err)
	}
	b.queue.VisibilityTimeout, b.Patience = queue.LongRun, 0
	b.states.next = []string{"Deleting"}
	if err := b.Put(t.Context(), b.queue); !errors.Is(err, ErrPending) {
		t.Errorf("got %v", err)
	}
	b.expect(b.ShortARN)
}

func TestAFIFOQueueIsReadOneByOne(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.ShortRun, true)
	if err := b.Put(t.Context(), b.queue); err != nil {
		t.Fatal(err)
	}
	if got := aws.ToInt32(b.expect(b.ShortARN).BatchSize); got != 1 {
		t.Errorf("got batches of %d", got)
	}
}

func TestWhatSomebodyChangedIsSetRight(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.ShortRun, false)
	if err := b.Put(t.Context(), b.queue); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]*lambda.UpdateEventSourceMappingInput{
		"disabled":     {Enabled: aws.Bool(false)},
		"other sizes":  {BatchSize: aws.Int32(3), ScalingConfig: &types.ScalingConfig{MaximumConcurrency: aws.Int32(2)}},
		"no reporting": {FunctionResponseTypes: []types.FunctionResponseType{}},
	} {
		change.UUID = b.expect(b.ShortARN).UUID
		if _, err := b.client.UpdateEventSourceMapping(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if err := b.Put(t.Context(), b.queue); err != nil {
			t.Fatal(err)
		}
		if mapping := b.expect(b.ShortARN); !b.asWanted(mapping, b.queue.FIFO) {
			t.Errorf("%s: got %+v", name, mapping)
		}
	}
}

func TestOthersMappingsOfTheQueueAreLeftAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.ShortRun, false)
	_, err := b.client.CreateEventSourceMapping(t.Context(), &lambda.CreateEventSourceMappingInput{
		EventSourceArn: &b.queue.ARN, FunctionName: aws.String(mototest.Environment(t, "reconcile")["DISPATCH_SCHEDULE_ARN"]),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Put(t.Context(), b.queue), b.Remove(t.Context(), b.queue.ARN)); err != nil {
		t.Fatal(err)
	}
	if got := len(b.mapped()); got != 1 {
		t.Errorf("got %d mappings", got)
	}
}

func TestLambdaIsWaitedForAndItsTroubleIsTold(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{
		"Creating": "", "Updating": "", "Enabling": "", "Disabling": "", "Deleting": "",
		"Disabled: The queue was deleted":    "AWS Lambda has stopped reading the queue: The queue was deleted",
		"Failed: Access to the queue denied": "AWS Lambda cannot read the queue: Failed: Access to the queue denied",
	} {
		b := setup(t, queue.ShortRun, false)
		if err := b.Put(t.Context(), b.queue); err != nil {
			t.Fatal(err)
		}
		b.states.next = []string{state, state}
		err := b.Put(t.Context(), b.queue)
		problem, told := errors.AsType[*queue.Problem](err)
		if want == "" && err != nil || want != "" && (!told || problem.Message != want) {
			t.Errorf("%s: got %v", state, err)
		}

		b.Patience = 0
		b.states.next = []string{state}
		if err := b.Put(t.Context(), b.queue); want == "" && !errors.Is(err, ErrPending) {
			t.Errorf("%s, without patience: got %v", state, err)
		}
		b.states.next = []string{"Deleting"}
		if err := b.Remove(t.Context(), b.queue.ARN); !errors.Is(err, ErrPending) {
			t.Errorf("removing, without patience: got %v", err)
		}
	}
}

func TestWhatLambdaRefusesIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.ShortRun, false)
	b.LongARN, b.ShortARN = b.ShortARN, b.LongARN // the queue hides messages for 900 s
	b.Concurrency = 1
	err := b.Put(t.Context(), b.queue)
	if problem, ok := errors.AsType[*queue.Problem](err); !ok || !strings.Contains(problem.Message, "AWS Lambda refuses to read the queue: ") {
		t.Errorf("got %v", err)
	}
}
