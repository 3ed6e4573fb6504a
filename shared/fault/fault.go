// Package fault holds the errors that a client may see, in the wire contract's
// form. Whatever is not one of them is internal: it is logged, and the client
// reads "internal error" and nothing of the cause.
package fault

import (
	"errors"
	"net/http"
)

// Type is the contract's name for a kind of error; clients dispatch on it.
type Type string

// The contract's error types.
const (
	TypeInvalidArguments     Type = "invalid_arguments"
	TypeDeniedAuthentication Type = "denied_authentication"
	TypePermissionsDenied    Type = "permissions_denied"
	TypeNotFound             Type = "not_found"
	TypeQuotasExceeded       Type = "quotas_exceeded"
	TypeTransientState       Type = "transient_state"
	TypeTooManyRequests      Type = "too_many_requests"
	TypeInternal             Type = "internal_error"
)

// Error is an error as the client reads it. It marshals to the answer's body;
// fields that a type does not have are left out.
type Error struct {
	Message      string `json:"message"`
	Details      any    `json:"details,omitempty"`
	Method       string `json:"method,omitempty"`
	Reason       string `json:"reason,omitempty"`
	Resource     string `json:"resource,omitempty"`
	ResourceID   string `json:"resource_id,omitempty"`
	CurrentState string `json:"current_state,omitempty"`
	Type         Type   `json:"type"`

	// Status is the HTTP status of the answer.
	Status int `json:"-"`
	// RetryAfter, where it is not 0, is the number of seconds after which the
	// client may try again: the answer's Retry-After header.
	RetryAfter int `json:"-"`
}

func (e *Error) Error() string {
	text := string(e.Type) + ": " + e.Message
	if e.Resource != "" {
		text += " (" + e.Resource + " " + e.ResourceID + ")"
	}
	return text
}

// As finds the client's error in err's chain. Any other error is internal, and
// is answered with [Internal].
func As(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Internal()
}

// Internal stands for every error whose cause is none of the client's business.
func Internal() *Error {
	return &Error{Type: TypeInternal, Status: http.StatusInternalServerError, Message: "internal error"}
}

// NotFound says that there is no such resource for this caller: it does not
// exist, or the caller may not read it. The two must not be told apart.
func NotFound(resource, id string) *Error {
	return &Error{
		Type: TypeNotFound, Status: http.StatusNotFound, Message: "resource is not found",
		Resource: resource, ResourceID: id,
	}
}

// TransientState says that the resource cannot be changed while in state.
func TransientState(resource, id, state string) *Error {
	return &Error{
		Type: TypeTransientState, Status: http.StatusConflict, Message: "resource is in a transient state",
		Resource: resource, ResourceID: id, CurrentState: state,
	}
}

// TooManyRequests asks the client to come back after that many seconds.
func TooManyRequests(seconds int) *Error {
	return &Error{
		Type: TypeTooManyRequests, Status: http.StatusTooManyRequests, Message: "too many requests",
		RetryAfter: seconds,
	}
}

// Quota is a quota that is used up: there may be so many of the resource, and there
// are.
type Quota struct {
	Resource string `json:"resource"`
	Quota    int    `json:"quota"`
	Current  int    `json:"current"`
}

// QuotasExceeded says that there is no room for another.
func QuotasExceeded(quotas ...Quota) *Error {
	return &Error{
		Type: TypeQuotasExceeded, Status: http.StatusForbidden, Message: "quota(s) exceeded for this resource", Details: quotas,
	}
}

// Denial is why a secret key was not accepted.
type Denial string

// The reasons to deny authentication.
const (
	// DeniedInvalid is a secret key that is missing or not a UUID.
	DeniedInvalid Denial = "invalid_argument"
	// DeniedNotFound is a secret key that nobody has, or that was revoked.
	DeniedNotFound Denial = "not_found"
	// DeniedExpired is a secret key whose time is over.
	DeniedExpired Denial = "expired"
)

// DeniedAuthentication says why the caller is not known.
func DeniedAuthentication(reason Denial) *Error {
	return &Error{
		Type: TypeDeniedAuthentication, Status: http.StatusUnauthorized, Message: "authentication is denied",
		Method: "api_key", Reason: string(reason),
	}
}

// Permission is an action on a kind of resource that the caller may not do.
type Permission struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

// PermissionsDenied says that the caller may read the resource but not do this.
func PermissionsDenied(action, resource string) *Error {
	return &Error{
		Type: TypePermissionsDenied, Status: http.StatusForbidden, Message: "insufficient permissions",
		Details: []Permission{{Action: action, Resource: resource}},
	}
}
