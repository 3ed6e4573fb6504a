// Package lambda runs functions as AWS Lambda does: their real binaries, over
// the Lambda Runtime API, with the environment, time-out and retries that they
// have on AWS.
package lambda

import (
	"encoding/json"
	"fmt"
	"time"
)

// Function is a function as Lambda knows it.
type Function struct {
	Name, ARN string
	// Binary is the path of the bootstrap.
	Binary      string
	Environment map[string]string
	Timeout     time.Duration
	MemoryMB    int
	// Reserved is the number of invocations that may run at the same time, reserved from the
	// account's. If it is 0, the function shares the part that no function reserves.
	Reserved int

	// Retries, MaxAge and OnFailure are for asynchronous invocations: how often a
	// failed one is tried again, how old it may become, and the ARN of the queue
	// that it goes to in the end, if any.
	Retries   int
	MaxAge    time.Duration
	OnFailure string
}

// The defaults of asynchronous invocations (Lambda Developer Guide,
// "Asynchronous invocation").
const (
	DefaultRetries = 2
	DefaultMaxAge  = 6 * time.Hour
)

// ThrottledError is Lambda's refusal of an invocation beyond the concurrency of a function or
// the account (API reference of Invoke, TooManyRequestsException).
type ThrottledError struct{ Reason string }

func (e *ThrottledError) Error() string {
	return "TooManyRequestsException: Rate Exceeded. (" + e.Reason + ")"
}

// Error is a function's failure, as Lambda answers it.
type Error struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

func (e *Error) Error() string { return e.Type + ": " + e.Message }

func errorOf(body []byte) *Error {
	var failure Error
	if json.Unmarshal(body, &failure) != nil || failure.Message == "" && failure.Type == "" {
		return &Error{Type: "Unhandled", Message: fmt.Sprintf("%.200s", body)}
	}
	return &failure
}
