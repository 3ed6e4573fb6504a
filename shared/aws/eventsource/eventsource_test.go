package eventsource

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard"
	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/queue"
	"containertriggers/shared/platform/awserr"
)

// testBundle is a queue on moto, with the guard before it, and the mappings on the
// two deployed dispatchers.
type testBundle struct {
	Mappings
	t      *testing.T
	client *lambda.Client
	calls  *calls
	guard  *guard.Guard
	queue  queue.Queue
	known  string // the ID that Apply has returned
	paused bool
}

// calls is an HTTP client that counts calls, and lets mappings be in states that moto does
// not know.
type calls struct {
	count atomic.Int64
	// state is what lists say instead of "Enabled", and the reason, if it is not "".
	state string
}

func (c *calls) Do(request *http.Request) (*http.Response, error) {
	c.count.Add(1)
	response, err := http.DefaultClient.Do(request)
	if err != nil || c.state == "" || request.Method != http.MethodGet {
		return response, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	state, reason, _ := strings.Cut(c.state, ": ")
	body = bytes.ReplaceAll(body, []byte(`"Enabled"`), []byte(`"`+state+`"`))
	body = bytes.ReplaceAll(body, []byte("User initiated"), []byte(reason))
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	return response, nil
}

// apply does so as a reconciler does, which remembers the ID.
func (b *testBundle) apply() error {
	b.t.Helper()
	id, err := b.Apply(b.t.Context(), b.queue, b.known, !b.paused)
	if err == nil {
		b.known = id
	}
	return err
}

// mustApply does so until Lambda is busy with no change any more.
func (b *testBundle) mustApply() {
	b.t.Helper()
	err := b.apply()
	for tries := 0; errors.Is(err, ErrPending) && tries < 3; tries++ {
		b.guard.EndChanges()
		err = b.apply()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.guard.EndChanges()
}

func setup(t *testing.T, fifo bool) *testBundle {
	t.Helper()
	env := mototest.Environment(t, "reconcile")
	before, cfg := guardtest.Start(t)
	before.SetMappingTime(time.Hour)
	name, attributes := uuid.NewString(), map[string]string{"VisibilityTimeout": "900"}
	if fifo {
		name, attributes["FifoQueue"] = name+".fifo", "true"
	}
	if _, err := sqs.NewFromConfig(cfg).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes}); err != nil {
		t.Fatal(err)
	}
	b := &testBundle{t: t, guard: before, calls: &calls{}, queue: queue.Queue{
		ARN: "arn:aws:sqs:us-east-1:123456789012:" + name, VisibilityTimeout: queue.ShortRun, FIFO: fifo,
	}}
	b.client = lambda.NewFromConfig(guard.Uncounted(cfg))
	cfg.HTTPClient = b.calls
	b.Mappings = Mappings{
		Client: lambda.NewFromConfig(cfg), ShortARN: env["DISPATCH_QUEUE_ARN"], LongARN: env["DISPATCH_QUEUE_LONG_ARN"], Concurrency: 5,
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

func TestMappings_DispatcherTimeoutsMatchTheTemplate(t *testing.T) {
	t.Parallel()
	b := setup(t, false)
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

func TestApply_MapsAQueueOnceOnTheFunctionThatFits(t *testing.T) {
	t.Parallel()
	b := setup(t, false)
	for range 2 {
		// Lambda still creates it.
		if err := b.apply(); err != nil {
			t.Fatal(err)
		}
	}
	b.guard.EndChanges()
	mapping := b.expect(b.ShortARN)
	if aws.ToInt32(mapping.BatchSize) != 10 || aws.ToInt32(mapping.ScalingConfig.MaximumConcurrency) != 5 ||
		!slices.Contains(mapping.FunctionResponseTypes, types.FunctionResponseTypeReportBatchItemFailures) || *mapping.UUID != b.known {
		t.Errorf("got %+v", mapping)
	}

	b.queue.VisibilityTimeout = queue.LongRun
	b.mustApply()
	if mapping := b.expect(b.LongARN); *mapping.UUID != b.known {
		t.Errorf("got %+v", mapping)
	}
	for range 2 {
		if err := b.Remove(t.Context(), b.queue.ARN, b.known); err != nil {
			t.Fatal(err)
		}
		b.guard.EndChanges()
	}
	if mapped := b.mapped(); len(mapped) > 0 {
		t.Errorf("got %+v", mapped)
	}
}

func TestMappings_CostOneCallToCreateAndOneToDelete(t *testing.T) {
	t.Parallel()
	b := setup(t, false)
	if err := b.apply(); err != nil || b.calls.count.Load() != 1 {
		t.Errorf("creating: %v after %d calls", err, b.calls.count.Load())
	}
	b.guard.EndChanges()
	if err := b.Remove(t.Context(), b.queue.ARN, b.known); err != nil || b.calls.count.Load() != 2 {
		t.Errorf("deleting: %v after %d calls in all", err, b.calls.count.Load())
	}
}

func TestMappings_CompleteAChangeWhoseIDWasLost(t *testing.T) {
	t.Parallel()
	b := setup(t, false)
	b.mustApply()
	created := b.known
	b.known = "" // as if the caller had died before it recorded the ID
	b.mustApply()
	if b.expect(b.ShortARN); b.known != created {
		t.Errorf("got %q, want %q", b.known, created)
	}
	if err := b.Remove(t.Context(), b.queue.ARN, ""); err != nil {
		t.Fatal(err)
	}
	b.guard.EndChanges()
	if mapped := b.mapped(); len(mapped) > 0 {
		t.Errorf("got %+v", mapped)
	}
	b.mustApply() // with the ID of a mapping that is gone
	b.expect(b.ShortARN)
}

// refusing refuses to delete one mapping as IAM does if a mapping that is gone has no
// function.
type refusing struct {
	API
	id string
}

func (r refusing) DeleteEventSourceMapping(ctx context.Context, input *lambda.DeleteEventSourceMappingInput, options ...func(*lambda.Options)) (*lambda.DeleteEventSourceMappingOutput, error) {
	if aws.ToString(input.UUID) == r.id {
		return nil, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not authorized"}
	}
	return r.API.DeleteEventSourceMapping(ctx, input, options...)
}

func TestRemove_TakesARefusalOfAMappingThatIsGoneForNotFound(t *testing.T) {
	t.Parallel()
	b := setup(t, false)
	b.mustApply()
	b.Client = refusing{b.Client, "gone"}
	if err := b.Remove(t.Context(), b.queue.ARN, "gone"); err != nil {
		t.Errorf("a mapping that is gone: %v", err)
	}
	b.guard.EndChanges()
	if mapped := b.mapped(); len(mapped) > 0 {
		t.Errorf("the queue's other mapping is still there: %+v", mapped)
	}
	b.known = ""
	b.mustApply()
	b.Client = refusing{b.Client, b.known}
	if err := b.Remove(t.Context(), b.queue.ARN, b.known); !awserr.Denied(err) {
		t.Errorf("a mapping that is there: got %v", err)
	}
}

func TestMappings_DoNotWaitForLambda(t *testing.T) {
	t.Parallel()
	b := setup(t, false)
	if err := b.apply(); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(t.Context(), b.queue.ARN, b.known); !errors.Is(err, ErrPending) {
		t.Errorf("removing while it is created: %v", err)
	}
	b.queue.VisibilityTimeout = queue.LongRun
	if err := b.apply(); !errors.Is(err, ErrPending) {
		t.Errorf("moving while it is created: %v", err)
	}
	b.queue.VisibilityTimeout = queue.ShortRun
	b.guard.EndChanges()
	if err := b.Remove(t.Context(), b.queue.ARN, b.known); err != nil {
		t.Errorf("removing: %v", err)
	}
	b.known = ""
	if err := b.apply(); !errors.Is(err, ErrPending) {
		t.Errorf("creating while the last one is deleted: %v", err)
	}
	b.mustApply()
	b.expect(b.ShortARN)
}

func TestMappings_MakeNoCallWithoutAClient(t *testing.T) {
	t.Parallel()
	m := Mappings{ShortARN: "short", LongARN: "long"}
	if _, err := m.Apply(t.Context(), queue.Queue{ARN: "q"}, "", true); !errors.Is(err, ErrPending) {
		t.Errorf("got %v", err)
	}
	if err := m.Remove(t.Context(), "q", "known"); !errors.Is(err, ErrPending) {
		t.Errorf("got %v", err)
	}
}

func TestApply_ReadsAFIFOQueueOneByOne(t *testing.T) {
	t.Parallel()
	b := setup(t, true)
	b.mustApply()
	if got := aws.ToInt32(b.expect(b.ShortARN).BatchSize); got != 1 {
		t.Errorf("got batches of %d", got)
	}
}

func TestApply_LeavesTheScalingToLambdaIfConcurrencyIs0(t *testing.T) {
	t.Parallel()
	b := setup(t, false)
	b.mustApply()
	b.Concurrency = 0
	b.mustApply()
	if scaling := b.expect(b.ShortARN).ScalingConfig; maximumConcurrency(scaling) != 0 {
		t.Errorf("got %+v", scaling)
	}
	b.mustApply()
	if err := b.Remove(t.Context(), b.queue.ARN, b.known); err != nil {
		t.Fatal(err)
	}
	b.guard.EndChanges()
	b.known = ""
	b.mustApply()
	if mapping := b.expect(b.ShortARN); maximumConcurrency(mapping.ScalingConfig) != 0 || !b.upToDate(mapping, false) {
		t.Errorf("got %+v", mapping)
	}
}

func TestApply_CorrectsADriftedMapping(t *testing.T) {
	t.Parallel()
	b := setup(t, false)
	b.mustApply()
	for name, change := range map[string]*lambda.UpdateEventSourceMappingInput{
		"disabled":     {Enabled: aws.Bool(false)},
		"other sizes":  {BatchSize: aws.Int32(3), ScalingConfig: &types.ScalingConfig{MaximumConcurrency: aws.Int32(2)}},
		"no reporting": {FunctionResponseTypes: []types.FunctionResponseType{}},
		"a window":     {MaximumBatchingWindowInSeconds: aws.Int32(300)},
		"a filter":     {FilterCriteria: &types.FilterCriteria{Filters: []types.Filter{{Pattern: aws.String(`{"body":["x"]}`)}}}},
	} {
		change.UUID = b.expect(b.ShortARN).UUID
		if _, err := b.client.UpdateEventSourceMapping(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		b.guard.EndChanges()
		if b.listed().UpToDate {
			t.Errorf("%s: it is listed as up to date", name)
		}
		b.mustApply()
		if mapping := b.expect(b.ShortARN); !b.upToDate(mapping, b.queue.FIFO) || !b.listed().UpToDate {
			t.Errorf("%s: got %+v", name, mapping)
		}
	}
}

// listed returns the queue's mapping from the list of all.
func (b *testBundle) listed() Mapping {
	b.t.Helper()
	all, err := b.All(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(m Mapping) bool { return m.QueueARN == b.queue.ARN })
	if i < 0 {
		b.t.Fatal("the mapping is not listed")
	}
	return all[i]
}

func TestMappings_LeaveForeignMappingsOfTheQueueAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, false)
	_, err := b.client.CreateEventSourceMapping(t.Context(), &lambda.CreateEventSourceMappingInput{
		EventSourceArn: &b.queue.ARN, FunctionName: aws.String(mototest.Environment(t, "reconcile")["DISPATCH_SCHEDULE_ARN"]),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.mustApply()
	if err := b.Remove(t.Context(), b.queue.ARN, ""); err != nil {
		t.Fatal(err)
	}
	b.guard.EndChanges()
	if got := len(b.mapped()); got != 1 {
		t.Errorf("got %d mappings", got)
	}
}

func TestApply_ReportsWhyLambdaDoesNotReadTheQueueAndHeals(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{
		"Disabled: The queue was deleted":    "AWS Lambda cannot read the queue: Lambda stopped: The queue was deleted",
		"Failed: Access to the queue denied": "AWS Lambda cannot read the queue: Failed: Access to the queue denied",
	} {
		b := setup(t, false)
		b.mustApply()
		b.calls.state = state
		if b.listed().UpToDate {
			t.Errorf("%s: it is listed as up to date", state)
		}
		problem, told := errors.AsType[*queue.Problem](b.apply())
		if !told || problem.Message != want {
			t.Errorf("%s: got %v", state, problem)
		}
		// Lambda tries the mapping again if it is new.
		b.calls.state = ""
		b.mustApply()
		if b.expect(b.ShortARN); !b.listed().UpToDate {
			t.Errorf("%s: it does not heal", state)
		}
	}
}

func TestApply_ReportsTheLastPollThatFailed(t *testing.T) {
	t.Parallel()
	b := setup(t, false)
	b.mustApply()
	for result, want := range map[string]string{
		"PROBLEM: KMS.AccessDeniedException: the key refuses": "AWS Lambda cannot read the queue: KMS.AccessDeniedException: the key refuses",
		"PROBLEM: Function call failed":                       "",
		"OK":                                                  "",
		"No records processed":                                "",
	} {
		b.guard.SetProcessingResult(b.known, result)
		if listed := b.listed(); listed.UpToDate != (want == "") {
			t.Errorf("%s: listed as %+v", result, listed)
		}
		err := b.apply()
		problem, told := errors.AsType[*queue.Problem](err)
		if want == "" && err != nil || want != "" && (!told || problem.Message != want) {
			t.Errorf("%s: got %v", result, err)
		}
	}
	b.expect(b.ShortARN) // which goes on trying
}

func TestApply_ReportsARefusalOfLambda(t *testing.T) {
	t.Parallel()
	b := setup(t, false)
	b.LongARN, b.ShortARN = b.ShortARN, b.LongARN // the queue hides messages for 900 s
	b.Concurrency = 1
	err := b.apply()
	if problem, ok := errors.AsType[*queue.Problem](err); !ok || !strings.Contains(problem.Message, "AWS Lambda refuses to read the queue: ") {
		t.Errorf("got %v", err)
	}
}

func TestBeyondReserve_AddsUpTheQueuesOfEachDispatcher(t *testing.T) {
	t.Parallel()
	all := func(short, long int) (list []Mapping) {
		for range short {
			list = append(list, Mapping{FunctionARN: "short"})
		}
		for range long {
			list = append(list, Mapping{FunctionARN: "long"})
		}
		return list
	}
	for _, test := range []struct {
		concurrency, reserve int32
		short, long, want    int
	}{
		{5, 100, 20, 20, 0},
		{5, 100, 21, 20, 5},
		{5, 100, 22, 21, 15},
		{5, 0, 1000, 0, 0},
		{0, 100, 1000, 0, 0}, // Lambda scales by itself, and nobody knows how far
	} {
		m := Mappings{Concurrency: test.concurrency, Reserve: test.reserve}
		if got := m.BeyondReserve(all(test.short, test.long)); got != test.want {
			t.Errorf("%+v: got %d", test, got)
		}
	}
}
