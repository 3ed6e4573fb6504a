// Package apierr holds the errors that a client may see, in the form of the wire
// contract. Every other error is internal. It is logged, and the client reads only
// "internal error".
package apierr

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

// Error is an error as the client reads it. It marshals to the answer's body, without
// the fields that its type does not have.
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
	// RetryAfter is the answer's Retry-After header: the seconds after which the client
	// may retry. The answer has no such header if it is 0.
	RetryAfter int `json:"-"`
	// Allow is the answer's Allow header: the methods of the path. The answer has no such
	// header if it is empty.
	Allow []string `json:"-"`
}

// Error returns the type, the message and the resource, for logs.
func (e *Error) Error() string {
	text := string(e.Type) + ": " + e.Message
	if e.Resource != "" {
		text += " (" + e.Resource + " " + e.ResourceID + ")"
	}
	return text
}

// From returns the *Error in err's chain, or [Internal] if there is none.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Internal()
}

// Internal returns the error that hides a cause from the client.
func Internal() *Error {
	return &Error{Type: TypeInternal, Status: http.StatusInternalServerError, Message: "internal error"}
}

// NotFound returns the error for a resource that does not exist or that the caller may
// not read. Both cases must look the same, so that the error reveals nothing.
func NotFound(resource, id string) *Error {
	return &Error{
		Type: TypeNotFound, Status: http.StatusNotFound, Message: "resource is not found",
		Resource: resource, ResourceID: id,
	}
}

// TransientState returns the error for a resource that cannot be changed in its state.
func TransientState(resource, id, state string) *Error {
	return &Error{
		Type: TypeTransientState, Status: http.StatusConflict, Message: "resource is in a transient state",
		Resource: resource, ResourceID: id, CurrentState: state,
	}
}

// TooManyRequests returns the error that asks the client to retry after some seconds.
func TooManyRequests(seconds int) *Error {
	return &Error{
		Type: TypeTooManyRequests, Status: http.StatusTooManyRequests, Message: "too many requests",
		RetryAfter: seconds,
	}
}

// Quota is a quota that is reached. Current is the number of resources.
type Quota struct {
	Resource string `json:"resource"`
	Quota    int    `json:"quota"`
	Current  int    `json:"current"`
}

// QuotasExceeded returns the error for a create that would exceed quotas.
func QuotasExceeded(quotas ...Quota) *Error {
	return &Error{
		Type: TypeQuotasExceeded, Status: http.StatusForbidden, Message: "quota(s) exceeded for this resource", Details: quotas,
	}
}

// Denial says why a secret key was refused.
type Denial string

// The reasons to deny authentication.
const (
	// DeniedInvalid means that the secret key is missing or not a UUID.
	DeniedInvalid Denial = "invalid_argument"
	// DeniedNotFound means that the secret key does not exist or was revoked.
	DeniedNotFound Denial = "not_found"
	// DeniedExpired means that the secret key has expired.
	DeniedExpired Denial = "expired"
)

// DeniedAuthentication returns the error for a request without a valid secret key.
func DeniedAuthentication(reason Denial) *Error {
	return &Error{
		Type: TypeDeniedAuthentication, Status: http.StatusUnauthorized, Message: "authentication is denied",
		Method: "api_key", Reason: string(reason),
	}
}

// Permission is an action on a kind of resource, such as write on trigger.
type Permission struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

// PermissionsDenied returns the error for an action that the caller's key does not permit.
func PermissionsDenied(action, resource string) *Error {
	return &Error{
		Type: TypePermissionsDenied, Status: http.StatusForbidden, Message: "insufficient permissions",
		Details: []Permission{{Action: action, Resource: resource}},
	}
}
