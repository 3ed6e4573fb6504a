package run

import (
	"net/url"
	"slices"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/domain/auth"
)

// Query asks for one page of runs, newest first: those of a trigger, or the failed ones of
// an organization. An empty filter matches everything. Filters combine with AND.
type Query struct {
	Region string
	// OrganizationID and ProjectIDs are filters until [Query.Within] limits them to the
	// caller's. Nil means all projects.
	OrganizationID string
	ProjectIDs     []string
	// TriggerID is empty in a query for the failed runs of all triggers.
	TriggerID   string
	ContainerID string
	States      []State
	Origins     []Origin
	// After and Before limit the times of the events: After <= time < Before.
	After, Before time.Time
	PageSize      int
	// Position is the run after which the page begins. It is the zero Key for the first page.
	Position Key
}

// ParseQuery parses a query string. The error names every fault.
func ParseQuery(region string, values url.Values) (Query, error) {
	p := request.Query{Values: values}
	p.Only("trigger_id", "project_id", "container_id", "states", "origins", "created_after", "created_before", "page_size", "page_token")
	q := Query{
		Region: region, TriggerID: p.UUID("trigger_id"), ContainerID: p.UUID("container_id"),
		States: choices(&p, "states", States()), Origins: choices(&p, "origins", Origins()),
		After: p.Time("created_after"), Before: p.Time("created_before"), PageSize: p.PageSize(),
	}
	if project := p.UUID("project_id"); project != "" {
		q.ProjectIDs = []string{project}
	}
	if p.Get("trigger_id") == "" {
		if len(q.States) > 0 && !slices.Equal(q.States, []State{Failed}) {
			p.Faults.Add("states", apierr.Constraint, "must be "+string(Failed)+", unless trigger_id names a trigger")
		}
		q.States = []State{Failed}
	}
	if token := p.Get("page_token"); token != "" {
		var ok bool
		if q.Position, ok = ParseID(token); !ok || q.TriggerID != "" && q.Position.TriggerID != q.TriggerID {
			p.Faults.Add("page_token", apierr.Format, "must be the next_page_token of an answer to the same query")
		}
	}
	return q, p.Faults.Err()
}

// choices returns the values of a parameter that may have several.
func choices[T ~string](p *request.Query, name string, allowed []T) (chosen []T) {
	words := make([]string, len(allowed))
	for i, word := range allowed {
		words[i] = string(word)
	}
	for _, word := range p.Strings(name, words...) {
		chosen = append(chosen, T(word))
	}
	return chosen
}

// PageToken returns the token of the page that begins after a run. It is the run's ID: it
// opens no run to a caller who may not read it, because a query reads only the caller's.
func PageToken(position Key) string { return position.ID() }

// Within limits the query to the runs that the caller may read. It returns false if nothing
// is left.
func (q Query) Within(caller auth.Principal) (bounded Query, ok bool) {
	q.OrganizationID = caller.OrganizationID
	if q.ProjectIDs == nil {
		q.ProjectIDs = caller.ProjectIDs
		return q, true
	}
	return q, caller.CanRead(caller.OrganizationID, q.ProjectIDs[0])
}

// Owns reports whether the owner and the region of a run are those of the query.
func (q Query) Owns(r Run) bool {
	return r.Region == q.Region && r.Owner.OrganizationID == q.OrganizationID &&
		(q.ProjectIDs == nil || slices.Contains(q.ProjectIDs, r.Owner.ProjectID))
}

// Matches reports whether a run is one that the query asks for.
func (q Query) Matches(r Run) bool {
	return q.Owns(r) && (q.ContainerID == "" || q.ContainerID == r.ContainerID) &&
		(len(q.States) == 0 || slices.Contains(q.States, r.State)) && (len(q.Origins) == 0 || slices.Contains(q.Origins, r.Origin))
}
