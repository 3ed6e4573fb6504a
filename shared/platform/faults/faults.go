// Package faults injects faults into AWS calls for tests. It imitates the failures of AWS,
// the network and Lambda by a middleware of the AWS SDK. Functions contain it only if they
// are built with the tag "faults"; deployed functions are not.
package faults

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/caarlos0/env/v11"
)

// Kind is a kind of fault.
type Kind string

// The kinds of faults.
const (
	// Throttle refuses the call as one of too many.
	Throttle Kind = "throttle"
	// Unavailable answers 500. The call has no effect.
	Unavailable Kind = "unavailable"
	// Delay delays the call.
	Delay Kind = "delay"
	// Drop loses the answer after the call has taken effect.
	Drop Kind = "drop"
	// Conflict refuses a write to DynamoDB, because a transaction holds one of its items. It
	// cancels a transaction for a reason that passes.
	Conflict Kind = "conflict"
	// Omit makes DynamoDB return some of the keys of a BatchGetItem as unprocessed.
	Omit Kind = "omit"
	// DieBefore and DieAfter end the process, before or after the call takes effect.
	DieBefore Kind = "die before"
	DieAfter  Kind = "die after"
)

// Message is the message of the log line for each fault. The line also has "kind" and
// "call".
const Message = "fault injected"

// Plan says how often the attempts of calls fail.
type Plan struct {
	// Seed is the seed of the random choice of faults.
	Seed uint64 `env:"FAULTS_SEED"`
	// Rate is the share of attempts that fail or are delayed. Deaths is the share of attempts
	// at which the process ends.
	Rate   float64 `env:"FAULTS_RATE"`
	Deaths float64 `env:"FAULTS_DEATHS"`
	// Longest is the longest delay.
	Longest time.Duration `env:"FAULTS_LONGEST" envDefault:"200ms"`
}

// FromEnvironment returns an injector with the plan from the environment. Each process of
// each function has its own sequence of faults.
func FromEnvironment() *Injector {
	plan := env.Must(env.ParseAs[Plan]())
	mixed := fnv.New64a()
	_, _ = fmt.Fprint(mixed, os.Getenv("AWS_LAMBDA_FUNCTION_NAME"), os.Getpid()) // never fails
	plan.Seed ^= mixed.Sum64()
	return New(plan)
}

// Injector injects faults by a plan.
type Injector struct {
	plan Plan
	exit func(code int)

	mu     sync.Mutex
	random *rand.Rand
}

// New returns an injector with that plan.
func New(plan Plan) *Injector {
	return &Injector{plan: plan, exit: os.Exit, random: rand.New(rand.NewPCG(plan.Seed, plan.Seed))}
}

// maxBackoff limits the pauses between the SDK's attempts, which are seconds otherwise.
const maxBackoff = 50 * time.Millisecond

// Break injects faults into the calls of all clients with that configuration.
func (i *Injector) Break(cfg *aws.Config) {
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = maxBackoff })
	}
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		// This step runs within the retries, so each attempt has its own fault.
		return errors.Join(
			stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("Faults", i.handle), middleware.Before),
			stack.Initialize.Add(middleware.InitializeMiddlewareFunc("FaultsOfInput", i.handleInput), middleware.After),
		)
	})
}

// kinds returns the kinds of faults of a call, without the deaths.
func kinds(call string) []Kind {
	all := []Kind{Throttle, Unavailable, Delay, Drop}
	switch call {
	case "DynamoDB.PutItem", "DynamoDB.UpdateItem", "DynamoDB.DeleteItem", transaction:
		all = append(all, Conflict)
	}
	return all
}

// draw returns the fault of one attempt of a call, or "" if there is none.
func (i *Injector) draw(call string) (Kind, time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delay := time.Duration(i.random.Int64N(int64(max(i.plan.Longest, 1))))
	switch at := i.random.Float64(); {
	case at < i.plan.Deaths:
		return []Kind{DieBefore, DieAfter}[i.random.IntN(2)], delay
	case at < i.plan.Deaths+i.plan.Rate:
		all := kinds(call)
		return all[i.random.IntN(len(all))], delay
	}
	return "", delay
}

var errLost = errors.New("the connection was reset")

func callOf(ctx context.Context) string {
	return awsmiddleware.GetServiceID(ctx) + "." + middleware.GetOperationName(ctx)
}

func report(ctx context.Context, kind Kind, call string) {
	slog.InfoContext(ctx, Message, "kind", string(kind), "call", call)
}

func (i *Injector) handle(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	call := callOf(ctx)
	kind, delay := i.draw(call)
	if kind == "" {
		return next.HandleDeserialize(ctx, in)
	}
	report(ctx, kind, call)
	switch kind {
	case Throttle:
		return middleware.DeserializeOutput{}, middleware.Metadata{}, throttled(call)
	case Conflict:
		return middleware.DeserializeOutput{}, middleware.Metadata{}, i.conflict(ctx, call)
	case Unavailable:
		return middleware.DeserializeOutput{}, middleware.Metadata{}, &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: http.StatusInternalServerError}},
			Err:      &smithy.GenericAPIError{Code: "InternalFailure", Message: "We encountered an internal error"},
		}
	case DieBefore:
		i.exit(1)
	case Delay:
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
	out, metadata, err := next.HandleDeserialize(ctx, in)
	switch kind {
	case DieAfter:
		i.exit(1)
	case Drop:
		return middleware.DeserializeOutput{}, middleware.Metadata{}, &smithyhttp.RequestSendError{Err: errLost}
	}
	return out, metadata, err
}
