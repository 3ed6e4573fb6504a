package apierr

import (
	"net/http"
	"strings"
)

// Reason says why an argument was refused.
type Reason string

// The reasons of the contract that the service gives.
const (
	// Required means that the argument is missing.
	Required Reason = "required"
	// Format means that the argument has the wrong type or does not parse.
	Format Reason = "format"
	// Constraint means that the argument is well-formed but not allowed.
	Constraint Reason = "constraint"
	// Unknown means that no argument has the name. Only the API's extensions refuse unknown
	// arguments. The original API ignores them.
	Unknown Reason = "unknown"
)

// Argument is one fault of a request.
type Argument struct {
	// Name is the argument's dotted path, such as "cron_config.schedule".
	Name   string `json:"argument_name"`
	Reason Reason `json:"reason"`
	// Help tells the user what to write instead. It begins with the name, because
	// clients list the help messages of several faults without their names.
	Help string `json:"help_message"`
}

// newArgument returns the fault of an argument that breaks a rule, such as "must be a UUID".
func newArgument(name string, reason Reason, rule string) Argument {
	return Argument{Name: name, Reason: reason, Help: name + " " + rule}
}

// Arguments collects the faults of one request, so that one answer names all of them.
// The zero value is empty and ready for use.
type Arguments struct {
	list []Argument
	// alone means that the list has one fault which hides all others.
	alone bool
}

// Add adds a fault. The rule completes the sentence that begins with the name, such as
// "must be a UUID". Add ignores further faults of the same argument, because they often
// follow from the first: a name of the wrong type is also a missing name.
func (a *Arguments) Add(name string, reason Reason, rule string) {
	if a.alone {
		return
	}
	for _, known := range a.list {
		if known.Name == name {
			return
		}
	}
	a.list = append(a.list, newArgument(name, reason, rule))
}

// Require adds the fault that a required argument is missing.
func (a *Arguments) Require(name string) { a.Add(name, Required, "is required") }

// AddAlone adds a fault that hides all others, such as a body that does not parse.
func (a *Arguments) AddAlone(name string, reason Reason, rule string) {
	a.list, a.alone = []Argument{newArgument(name, reason, rule)}, true
}

// Err returns the *Error that names all faults, or nil if there are none.
func (a *Arguments) Err() error {
	if len(a.list) == 0 {
		return nil
	}
	return invalidArguments(a.list)
}

// InvalidArgument returns the error of a request with one fault. The rule completes the
// sentence that begins with the name, as for [Arguments.Add].
func InvalidArgument(name string, reason Reason, rule string) *Error {
	return invalidArguments([]Argument{newArgument(name, reason, rule)})
}

func invalidArguments(list []Argument) *Error {
	return &Error{Type: TypeInvalidArguments, Status: http.StatusBadRequest, Message: "invalid argument(s)", Details: list}
}

// MethodNotAllowed returns the error of a request to a path that has other methods. The
// contract has no error type for this case, so it is an invalid argument with status 405.
func MethodNotAllowed(allowed ...string) *Error {
	refusal := InvalidArgument("method", Constraint, "must be "+strings.Join(allowed, " or "))
	refusal.Status, refusal.Allow = http.StatusMethodNotAllowed, allowed
	return refusal
}
