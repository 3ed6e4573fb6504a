// Package listing parses the query of a list: its filters, its order and its page.
package listing

import (
	"net/url"
	"slices"
	"strings"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/trigger"
)

// Query asks for one page of an organization's resources in a region. An empty filter
// matches everything. Filters combine with AND.
type Query struct {
	Region string
	// OrganizationID and ProjectIDs are filters until [Query.Within] limits them to the
	// caller's. Nil means all projects.
	OrganizationID string
	ProjectIDs     []string

	NamespaceID string
	// ContainerID and Source filter triggers, Name filters containers and namespaces.
	ContainerID string
	Source      trigger.Source
	Name        string

	Order Order
	// Page counts from 1. PageSize is 1 to 100.
	Page, PageSize int
}

// Order is the order of a list. Equal entries are sorted by ID, ascending.
type Order struct {
	// ByName sorts by name instead of by creation.
	ByName     bool
	Descending bool
}

var orders = map[string]Order{
	"":                {},
	"created_at_asc":  {},
	"created_at_desc": {Descending: true},
	"name_asc":        {ByName: true},
	"name_desc":       {ByName: true, Descending: true},
}

var sources = map[string]trigger.Source{
	"":                    "",
	"unknown_source_type": "",
	"cron":                trigger.SourceCron,
	"sqs":                 trigger.SourceSQS,
	"nats":                trigger.SourceNATS,
}

// Triggers parses a query for triggers. It ignores unknown parameters. The error is a
// *apierr.Error that names every fault.
func Triggers(region string, values url.Values) (Query, error) {
	p := parameters{request.Query{Values: values}}
	q := p.common(region)
	q.NamespaceID = p.UUID("namespace_id")
	q.ContainerID = p.UUID("container_id")
	q.Source = choice(&p, "trigger_type", sources)
	return q, p.Faults.Err()
}

// Containers parses a query for containers, as [Triggers] does for triggers.
func Containers(region string, values url.Values) (Query, error) {
	p := parameters{request.Query{Values: values}}
	q := p.common(region)
	q.NamespaceID = p.UUID("namespace_id")
	q.Name = p.Get("name")
	return q, p.Faults.Err()
}

// Namespaces parses a query for namespaces, as [Triggers] does for triggers.
func Namespaces(region string, values url.Values) (Query, error) {
	p := parameters{request.Query{Values: values}}
	q := p.common(region)
	q.Name = p.Get("name")
	return q, p.Faults.Err()
}

// Within limits the query to the resources that the caller may read. It returns false if
// nothing is left, as for a filter that names an unreadable resource.
func (q Query) Within(caller auth.Principal) (bounded Query, ok bool) {
	if q.OrganizationID != "" && q.OrganizationID != caller.OrganizationID {
		return q, false
	}
	q.OrganizationID = caller.OrganizationID
	if q.ProjectIDs == nil {
		q.ProjectIDs = caller.ProjectIDs
		return q, true
	}
	return q, caller.CanRead(caller.OrganizationID, q.ProjectIDs[0])
}

// parameters parses the parameters that several lists have.
type parameters struct{ request.Query }

// common returns the part of a query that all lists share.
func (p *parameters) common(region string) Query {
	q := Query{
		Region:         region,
		OrganizationID: p.UUID("organization_id"),
		Order:          choice(p, "order_by", orders),
		Page:           p.Number("page", 1, 1<<31-1),
		PageSize:       p.PageSize(),
	}
	if project := p.UUID("project_id"); project != "" {
		q.ProjectIDs = []string{project}
	}
	return q
}

// choice returns the choice that a parameter names.
func choice[T any](p *parameters, name string, choices map[string]T) T {
	chosen, ok := choices[p.Get(name)]
	if !ok {
		names := make([]string, 0, len(choices))
		for known := range choices {
			if known != "" {
				names = append(names, known)
			}
		}
		slices.Sort(names)
		p.Faults.Add(name, apierr.Constraint, "must be one of "+strings.Join(names, ", "))
	}
	return chosen
}
