package fault

import "net/http"

// Reason is why an argument was not accepted.
type Reason string

// The contract's reasons.
const (
	// Required is an argument that is missing.
	Required Reason = "required"
	// Format is an argument of the wrong type, or that does not parse.
	Format Reason = "format"
	// Constraint is a well-formed argument that is not allowed here.
	Constraint Reason = "constraint"
)

// Argument is one fault of a request.
type Argument struct {
	// Name is the argument's dotted path, such as "cron_config.schedule".
	Name   string `json:"argument_name"`
	Reason Reason `json:"reason"`
	// Help tells the user what to write instead.
	Help string `json:"help_message"`
}

// Arguments collects the faults of one request, so that all of them are
// answered at once. The zero value is empty and ready for use.
type Arguments struct {
	list []Argument
}

// Add notes a fault. Only the first one of an argument counts: what follows
// from it (a name of the wrong type is a missing name as well) is left out.
func (a *Arguments) Add(name string, reason Reason, help string) {
	for _, known := range a.list {
		if known.Name == name {
			return
		}
	}
	a.list = append(a.list, Argument{Name: name, Reason: reason, Help: help})
}

// Err is nil while there is no fault, else the *Error that names them all.
func (a *Arguments) Err() error {
	if len(a.list) == 0 {
		return nil
	}
	return &Error{
		Type: TypeInvalidArguments, Status: http.StatusBadRequest, Message: "invalid argument(s)",
		Details: a.list,
	}
}

// InvalidArgument is the error of a request with this one fault.
func InvalidArgument(name string, reason Reason, help string) *Error {
	return &Error{
		Type: TypeInvalidArguments, Status: http.StatusBadRequest, Message: "invalid argument(s)",
		Details: []Argument{{Name: name, Reason: reason, Help: help}},
	}
}
