package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/child"
)

const (
	// accountConcurrency is how many invocations may run at the same time in an account
	// (Lambda Developer Guide, "Lambda quotas").
	accountConcurrency = 1000
	// processes is how many environments of one function this machine runs at the same
	// time. An invocation that Lambda would run beyond them waits.
	processes = 10
)

// Host runs functions.
type Host struct {
	// Queues sends failed invocations to their destinations.
	Queues *sqs.Client
	// Environment holds further variables of all functions.
	Environment map[string]string
	// RetryDelay is the pause before the first retry of an asynchronous invocation that
	// failed. Lambda's is a minute; the other pauses are in proportion.
	RetryDelay time.Duration
	// Log receives the functions' logs and the host's reports about them, line by line.
	Log func(function, line string)

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu         sync.Mutex
	functions  map[string]*hosted // by name and by ARN
	unreserved *concurrency
}

type hosted struct {
	Function
	label       string
	concurrency *concurrency
	slots       chan struct{}

	mu   sync.Mutex
	idle []*environment
	// begun and ended are the numbers of invocations so far.
	begun, ended int
}

// Start makes the host ready for functions, until Close.
func (h *Host) Start() {
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.functions = map[string]*hosted{}
	h.unreserved = &concurrency{free: accountConcurrency, reason: "ConcurrentInvocationLimitExceeded"}
	if !child.TellsMemory {
		h.Log("local cloud", "this system does not tell how much memory a process has: no function is killed for exceeding its MemorySize")
	}
}

// Add makes a function known. Its log lines begin with the label.
func (h *Host) Add(f Function, label string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := &hosted{Function: f, label: label, concurrency: h.unreserved, slots: make(chan struct{}, processes)}
	if f.Reserved > 0 {
		h.unreserved.add(-f.Reserved)
		known.concurrency = &concurrency{free: f.Reserved, reason: "ReservedFunctionConcurrentInvocationLimitExceeded"}
	}
	h.functions[f.Name], h.functions[f.ARN] = known, known
}

// Close ends all functions and waits until they are gone.
func (h *Host) Close() {
	h.mu.Lock()
	h.cancel()
	h.mu.Unlock()
	h.work.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.functions {
		f.mu.Lock()
		for _, e := range f.idle {
			e.close()
		}
		f.idle = nil
		f.mu.Unlock()
	}
}

// begin counts one more that Close waits for, unless the host is closed.
func (h *Host) begin() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.ctx.Err(); err != nil {
		return err
	}
	h.work.Add(1)
	return nil
}

// ErrNoFunction says that there is no function of that name or ARN.
var ErrNoFunction = errors.New("function not found")

func (h *Host) find(name string) (*hosted, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f, ok := h.functions[name]; ok {
		return f, nil
	}
	return nil, fmt.Errorf("%s: %w", name, ErrNoFunction)
}

// Invocations returns how many invocations of a function have ended, and how many have not, by
// its name or ARN.
func (h *Host) Invocations(name string) (ended, underWay int) {
	f, err := h.find(name)
	if err != nil {
		return 0, 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended, f.begun - f.ended
}

// Has reports whether there is a function of that name or ARN.
func (h *Host) Has(name string) bool {
	_, err := h.find(name)
	return err == nil
}

// Invoke runs a function, named by name or ARN, and waits for its answer. A
// function's failure is an *[Error], a refusal because of its concurrency a
// *[ThrottledError].
func (h *Host) Invoke(ctx context.Context, name string, payload []byte) ([]byte, error) {
	f, err := h.find(name)
	if err != nil {
		return nil, err
	}
	id := uuid.NewString()
	answer, err := h.run(ctx, f, id, payload)
	h.logThrottle(f, id, err)
	return answer, err
}

// logThrottle logs that an invocation was throttled, if err says so. Lambda counts this in
// a metric.
func (h *Host) logThrottle(f *hosted, id string, err error) {
	if throttled, ok := errors.AsType[*ThrottledError](err); ok {
		h.Log(f.label, "THROTTLED RequestId: "+id+" "+throttled.Error())
	}
}

// InvokeAsync queues an invocation, as Lambda does for callers that do not wait. The host
// retries it under the same request ID. If all retries fail, the host sends the event to the
// function's on-failure destination.
func (h *Host) InvokeAsync(name string, payload []byte) error {
	f, err := h.find(name)
	if err != nil {
		return err
	}
	if err := h.begin(); err != nil {
		return err
	}
	go func() {
		defer h.work.Done()
		h.retry(f, uuid.NewString(), payload, time.Now())
	}()
	return nil
}

// retry runs an event until it succeeds, its retries are used up, or it is too old. A
// failure of the function is tried again after one minute and then two. An event that is
// throttled or meets an error of the system waits for 1 second at first and 5 minutes at
// most (Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous
// invocation").
func (h *Host) retry(f *hosted, id string, payload []byte, queued time.Time) {
	minute := h.RetryDelay
	failures, afterFailure, afterRefusal := 0, minute, minute/60
	tooOld := time.After(time.Until(queued.Add(f.MaxAge)))
	var failure *Error // of the last run
	for {
		_, err := h.run(h.ctx, f, id, payload)
		if err == nil || h.ctx.Err() != nil {
			return
		}
		var pause time.Duration
		if failed, ok := errors.AsType[*Error](err); ok {
			failure = failed
			if failures++; failures > f.Retries {
				h.give(f, id, payload, failure, "RetriesExhausted", failures)
				return
			}
			pause, afterFailure = afterFailure, 2*afterFailure
		} else {
			if afterRefusal == minute/60 { // not each time that it waits
				h.logThrottle(f, id, err)
			}
			pause, afterRefusal = afterRefusal, min(2*afterRefusal, 5*minute)
		}
		select {
		case <-h.ctx.Done():
			return
		case <-tooOld:
			h.give(f, id, payload, failure, "EventAgeExceeded", failures)
			return
		case <-time.After(pause):
		}
	}
}

// give puts an event that is given up into the function's on-failure destination, in the
// form of Lambda's invocation records. The failure is nil if the function never ran.
func (h *Host) give(f *hosted, id string, payload []byte, failure *Error, condition string, count int) {
	if f.OnFailure == "" {
		h.Log(f.label, "DROPPED the asynchronous invocation "+id+" ("+condition+"): there is no on-failure destination")
		return
	}
	record := map[string]any{
		"version":   "1.0",
		"timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"requestContext": map[string]any{
			"requestId": id, "functionArn": f.ARN + ":$LATEST", "condition": condition, "approximateInvokeCount": count,
		},
		"requestPayload": json.RawMessage(payload),
	}
	if failure != nil {
		record["responseContext"] = map[string]any{"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
		record["responsePayload"] = failure
	}
	body, err := json.Marshal(record)
	if err == nil {
		err = SendToARN(h.ctx, h.Queues, f.OnFailure, string(body))
	}
	if err != nil {
		h.Log(f.label, "the on-failure destination did not take the record: "+err.Error())
	}
}

// SendToARN puts a message into the queue of that ARN.
func SendToARN(ctx context.Context, queues *sqs.Client, arn, body string) error {
	queue, err := queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(arn[strings.LastIndex(arn, ":")+1:])})
	if err != nil {
		return fmt.Errorf("looking up %s: %w", arn, err)
	}
	if _, err := queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: &body}); err != nil {
		return fmt.Errorf("sending to %s: %w", arn, err)
	}
	return nil
}

// run works on one invocation in an environment that is idle, or a new one.
func (h *Host) run(ctx context.Context, f *hosted, id string, payload []byte) ([]byte, error) {
	if err := f.concurrency.take(); err != nil {
		return nil, err
	}
	defer f.concurrency.add(1)
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-h.ctx.Done():
		return nil, h.ctx.Err()
	}
	if err := h.begin(); err != nil {
		return nil, err
	}
	defer h.work.Done()

	e, err := h.take(f)
	if err != nil {
		h.Log(f.label, "FAILED "+err.Error())
		return nil, err
	}
	f.mu.Lock()
	f.begun++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ended++
	}()
	began := time.Now()
	result, reusable := e.run(h.ctx, &invocation{
		id: id, payload: payload, started: make(chan struct{}), done: make(chan outcome, 1),
	})
	if reusable {
		f.mu.Lock()
		f.idle = append(f.idle, e)
		f.mu.Unlock()
	} else {
		e.close()
	}
	if result.err != nil && h.ctx.Err() == nil {
		h.Log(f.label, "FAILED "+result.err.Error())
	}
	slog.DebugContext(h.ctx, "invoked", "function", f.label, "request_id", id, "took", time.Since(began))
	return result.payload, result.err
}

// take gives the environment that was used last, or starts one.
func (h *Host) take(f *hosted) (*environment, error) {
	for {
		f.mu.Lock()
		if len(f.idle) == 0 {
			f.mu.Unlock()
			return newEnvironment(f.Function, h.Environment, func(line string) { h.Log(f.label, line) })
		}
		e := f.idle[len(f.idle)-1]
		f.idle = f.idle[:len(f.idle)-1]
		f.mu.Unlock()
		select {
		case <-e.exited: // it died while idle
			e.close()
		default:
			return e, nil
		}
	}
}
