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
)

// concurrency is how many environments of one function run at the same time;
// further invocations wait.
const concurrency = 10

// Host runs functions.
type Host struct {
	// Queues sends failed invocations to their destinations.
	Queues *sqs.Client
	// Environment is what every function gets beside its own variables.
	Environment map[string]string
	// RetryDelay is the pause before the first retry of an asynchronous
	// invocation; the next one is twice as long. Lambda's is a minute.
	RetryDelay time.Duration
	// Log takes what functions write, and what becomes of them, line by line.
	Log func(function, line string)

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu        sync.Mutex
	functions map[string]*hosted // by name and by ARN
}

type hosted struct {
	Function
	label string
	slots chan struct{}

	mu   sync.Mutex
	idle []*environment
}

// Start makes the host ready for functions, until Close.
func (h *Host) Start() {
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.functions = map[string]*hosted{}
}

// Add makes a function known. Its log lines begin with the label.
func (h *Host) Add(f Function, label string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := &hosted{Function: f, label: label, slots: make(chan struct{}, concurrency)}
	h.functions[f.Name], h.functions[f.ARN] = known, known
}

// Close ends all functions and waits until they are gone.
func (h *Host) Close() {
	h.cancel()
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

// Invoke runs a function, named by name or ARN, and waits for its answer. A
// function's failure is an *[Error].
func (h *Host) Invoke(ctx context.Context, name string, payload []byte) ([]byte, error) {
	f, err := h.find(name)
	if err != nil {
		return nil, err
	}
	return h.run(ctx, f, uuid.NewString(), payload)
}

// InvokeAsync queues an invocation, as Lambda does for services that do not wait:
// it is retried under the same request ID, and what fails for good goes to the
// function's on-failure destination.
func (h *Host) InvokeAsync(name string, payload []byte) error {
	f, err := h.find(name)
	if err != nil {
		return err
	}
	h.work.Add(1)
	go func() {
		defer h.work.Done()
		h.retry(f, uuid.NewString(), payload, time.Now())
	}()
	return nil
}

func (h *Host) retry(f *hosted, id string, payload []byte, queued time.Time) {
	delay := h.RetryDelay
	for try := 0; ; try++ {
		_, err := h.run(h.ctx, f, id, payload)
		if err == nil || h.ctx.Err() != nil {
			return
		}
		condition := "RetriesExhausted"
		if time.Since(queued)+delay > f.MaxAge {
			condition = "EventAgeExceeded"
		}
		if try == f.Retries || condition == "EventAgeExceeded" {
			h.give(f, id, payload, err, condition, try+1)
			return
		}
		select {
		case <-h.ctx.Done():
			return
		case <-time.After(delay):
			delay *= 2
		}
	}
}

// give puts a failed invocation into the function's on-failure destination, in
// the form of Lambda's invocation records.
func (h *Host) give(f *hosted, id string, payload []byte, failure error, condition string, count int) {
	if f.OnFailure == "" {
		h.Log(f.label, "an asynchronous invocation failed for good and is dropped: there is no on-failure destination")
		return
	}
	told, ok := errors.AsType[*Error](failure)
	if !ok {
		told = &Error{Type: "Unknown", Message: failure.Error()}
	}
	record := map[string]any{
		"version":   "1.0",
		"timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"requestContext": map[string]any{
			"requestId": id, "functionArn": f.ARN + ":$LATEST", "condition": condition, "approximateInvokeCount": count,
		},
		"requestPayload":  json.RawMessage(payload),
		"responseContext": map[string]any{"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
		"responsePayload": told,
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
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-h.ctx.Done():
		return nil, h.ctx.Err()
	}
	h.work.Add(1)
	defer h.work.Done()

	e, err := h.take(f)
	if err != nil {
		return nil, err
	}
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
	slog.Debug("invoked", "function", f.label, "request_id", id, "took", time.Since(began))
	return result.payload, result.err
}

// take gives the environment that was used last, or starts one.
func (h *Host) take(f *hosted) (*environment, error) {
	for {
		f.mu.Lock()
		if len(f.idle) == 0 {
			f.mu.Unlock()
			return newEnvironment(h.ctx, f.Function, h.Environment, func(line string) { h.Log(f.label, line) })
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
