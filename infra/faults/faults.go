// Package faults breaks AWS calls, as AWS, the network and Lambda do now and then:
// a middleware of the AWS SDK for tests. Functions have it when they are built with
// the tag "faults"; those that are deployed do not know it.
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
	// Throttle refuses the call: it comes too fast after others.
	Throttle Kind = "throttle"
	// Unavailable answers 500; the call has no effect.
	Unavailable Kind = "unavailable"
	// Delay lets the call wait.
	Delay Kind = "delay"
	// Drop loses the answer, after the call has taken effect.
	Drop Kind = "drop"
	// DieBefore and DieAfter end the process, before or after the call takes effect.
	DieBefore Kind = "die before"
	DieAfter  Kind = "die after"
)

// Message is that of the log lines which tell of a fault, with "kind" and "call".
const Message = "fault injected"

// Plan says which faults there are to be, of each try of each call.
type Plan struct {
	// Seed makes the same faults of the same calls.
	Seed uint64 `env:"FAULTS_SEED"`
	// Rate is the part of the tries that fail or are delayed, Deaths that of those at
	// which the process ends.
	Rate   float64 `env:"FAULTS_RATE"`
	Deaths float64 `env:"FAULTS_DEATHS"`
	// Longest is the longest delay.
	Longest time.Duration `env:"FAULTS_LONGEST" envDefault:"200ms"`
}

// FromEnvironment reads a plan of the environment. Each process of each function
// has faults of its own.
func FromEnvironment() *Injector {
	plan := env.Must(env.ParseAs[Plan]())
	mixed := fnv.New64a()
	_, _ = fmt.Fprint(mixed, os.Getenv("AWS_LAMBDA_FUNCTION_NAME"), os.Getpid()) // never fails
	plan.Seed ^= mixed.Sum64()
	return New(plan)
}

// Injector breaks calls by a plan.
type Injector struct {
	plan Plan
	exit func(code int)

	mu     sync.Mutex
	random *rand.Rand
}

// New makes an Injector.
func New(plan Plan) *Injector {
	return &Injector{plan: plan, exit: os.Exit, random: rand.New(rand.NewPCG(plan.Seed, plan.Seed))}
}

// fastest keeps the SDK from waiting for seconds between its tries.
const fastest = 50 * time.Millisecond

// Break has the calls of all clients that are made of the configuration broken.
func (i *Injector) Break(cfg *aws.Config) {
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = fastest })
	}
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		// Within the retries: each try has a fault of its own.
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("Faults", i.handle), middleware.Before)
	})
}

// draw decides about one try: "" is none.
func (i *Injector) draw() (Kind, time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delay := time.Duration(i.random.Int64N(int64(max(i.plan.Longest, 1))))
	switch at := i.random.Float64(); {
	case at < i.plan.Deaths:
		return []Kind{DieBefore, DieAfter}[i.random.IntN(2)], delay
	case at < i.plan.Deaths+i.plan.Rate:
		return []Kind{Throttle, Unavailable, Delay, Drop}[i.random.IntN(4)], delay
	}
	return "", delay
}

var errLost = errors.New("the connection was reset")

func (i *Injector) handle(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	kind, delay := i.draw()
	if kind == "" {
		return next.HandleDeserialize(ctx, in)
	}
	slog.InfoContext(ctx, Message, "kind", string(kind), "call", awsmiddleware.GetServiceID(ctx)+"."+middleware.GetOperationName(ctx))
	switch kind {
	case Throttle:
		return middleware.DeserializeOutput{}, middleware.Metadata{}, &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate exceeded"}
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
