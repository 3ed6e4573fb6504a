package guard

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"containertriggers/infra/local/role"
)

// roles are what functions may do, by their names. A function's calls come with its
// name as their session token.
type roles struct {
	place role.Place
	of    map[string]role.Role
}

// SetRoles has what the role of a function does not allow refused, of its own calls
// and of what Lambda does for it. The resources are those of place.
func (g *Guard) SetRoles(place role.Place, byFunction map[string]role.Role) {
	place.MappingFunction = g.mappings.function
	g.roles.Store(&roles{place, byFunction})
}

// denied is what IAM says against a function's call, nil for calls of others.
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
		slog.Error("a role does not allow a call", "function", function, "why", why)
		return &refusal{http.StatusForbidden, "AccessDeniedException", function + " is not authorized to perform: " + why}
	}
	needed, err := r.place.Needed(request, body)
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

// mayNotRead is what Lambda says when the function of a mapping could not read its
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
