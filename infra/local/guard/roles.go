package guard

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"containertriggers/infra/local/role"
)

// roles holds the functions' roles by the functions' names. A function's requests have its
// name as their session token.
type roles struct {
	place role.Place
	of    map[string]role.Role
}

// SetRoles makes the guard refuse requests that the role of a function does not allow: its
// own, and those that Lambda makes for it. The resources are those of place.
func (g *Guard) SetRoles(place role.Place, byFunction map[string]role.Role) {
	place.MappingFunction = g.mappings.function
	g.roles.Store(&roles{place, byFunction})
}

// denied returns IAM's refusal of a function's request, or nil. It returns nil for requests
// of other callers.
func (r *roles) denied(request *http.Request, body []byte) *refusal {
	function := request.Header.Get("X-Amz-Security-Token")
	if r == nil {
		return nil
	}
	of, enforced := r.of[function]
	if !enforced {
		return nil
	}
	denied := func(why string) *refusal {
		slog.ErrorContext(request.Context(), "a role does not allow a call", "function", function, "why", why)
		return &refusal{http.StatusForbidden, "AccessDeniedException", function + " is not authorized to perform: " + why}
	}
	needed, err := r.place.Needed(request, body)
	if errors.Is(err, role.ErrGone) {
		return &refusal{http.StatusNotFound, "ResourceNotFoundException", "The resource you requested does not exist."}
	}
	if err != nil {
		return denied(err.Error())
	}
	for _, permission := range needed {
		if !of.Allows(permission) {
			return denied(permission.String())
		}
	}
	return nil
}

// mayNotRead returns Lambda's refusal of a mapping if the function's role may not read the
// queue (Lambda Developer Guide, "Using Lambda with Amazon SQS").
func (r *roles) mayNotRead(body []byte) *refusal {
	var request mappingRequest
	if r == nil || json.Unmarshal(body, &request) != nil {
		return nil
	}
	source, err := arn.Parse(request.EventSourceArn)
	of, known := r.of[request.FunctionName[strings.LastIndex(request.FunctionName, ":")+1:]]
	if err != nil || source.Service != "sqs" || !known {
		return nil
	}
	for _, action := range []string{"ReceiveMessage", "DeleteMessage", "GetQueueAttributes"} {
		if !of.Allows(role.Permission{Action: "sqs:" + action, Resource: request.EventSourceArn}) {
			return invalid("The provided execution role does not have permissions to call " + action + " on SQS")
		}
	}
	return nil
}
