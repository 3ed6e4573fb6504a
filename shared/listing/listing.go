// Package listing is the question that a list answers: which filters, which
// order, which page. It reads it from a query string.
package listing

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"containertriggers/shared/auth"
	"containertriggers/shared/check"
	"containertriggers/shared/fault"
	"containertriggers/shared/trigger"
)

// The page size where the caller gives none, and the largest.
const (
	defaultPageSize = 20
	maxPageSize     = 100
)

// Query asks for one page of what one organization has in one region. An empty
// filter lets everything pass; filters combine with AND.
type Query struct {
	Region string
	// OrganizationID and ProjectIDs bound what is looked at; as a filter they
	// are empty where the caller gave none. Nil projects are all of them.
	OrganizationID string
	ProjectIDs     []string

	NamespaceID string
	// ContainerID and Source filter triggers, Name filters containers.
	ContainerID string
	Source      trigger.Source
	Name        string

	Order Order
	// Page counts from 1; PageSize is 1 to 100.
	Page, PageSize int
}

// Order is how a list is sorted; equal entries are sorted by ID, ascending.
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

// Triggers reads a query for triggers. The error is a *fault.Error that names
// every fault; unknown parameters are ignored.
func Triggers(region string, values url.Values) (Query, error) {
	p := parameters{values: values}
	q := p.common(region)
	q.ContainerID = p.uuid("container_id")
	q.Source = choice(&p, "trigger_type", sources)
	return q, p.faults.Err()
}

// Containers reads a query for containers, as [Triggers] does for triggers.
func Containers(region string, values url.Values) (Query, error) {
	p := parameters{values: values}
	q := p.common(region)
	q.Name = p.get("name")
	return q, p.faults.Err()
}

// Within bounds the query to what the caller may read; ok is false where that
// leaves nothing. A filter that names something unreadable finds nothing.
func (q Query) Within(caller auth.Caller) (bounded Query, ok bool) {
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

// parameters reads single parameters and collects what is wrong with them.
type parameters struct {
	values url.Values
	faults fault.Arguments
}

func (p *parameters) common(region string) Query {
	q := Query{
		Region:         region,
		OrganizationID: p.uuid("organization_id"),
		NamespaceID:    p.uuid("namespace_id"),
		Order:          choice(p, "order_by", orders),
		Page:           p.number("page", 1, 1<<31-1),
		PageSize:       p.number("page_size", defaultPageSize, maxPageSize),
	}
	if project := p.uuid("project_id"); project != "" {
		q.ProjectIDs = []string{project}
	}
	return q
}

// get gives a parameter's value; an empty one is the same as none.
func (p *parameters) get(name string) string {
	if len(p.values[name]) > 1 {
		p.faults.Add(name, fault.Constraint, "must be given once")
	}
	return p.values.Get(name)
}

func (p *parameters) uuid(name string) string {
	value := p.get(name)
	if value == "" {
		return ""
	}
	return check.UUID(&p.faults, name, value)
}

// number reads a whole number from 1 to most.
func (p *parameters) number(name string, absent, most int) int {
	value := p.get(name)
	if value == "" {
		return absent
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		p.faults.Add(name, fault.Format, "must be a whole number")
	} else if n < 1 || n > int64(most) {
		p.faults.Add(name, fault.Constraint, "must be between 1 and "+strconv.Itoa(most))
	}
	return int(n)
}

func choice[T any](p *parameters, name string, choices map[string]T) T {
	chosen, ok := choices[p.get(name)]
	if !ok {
		names := make([]string, 0, len(choices))
		for known := range choices {
			if known != "" {
				names = append(names, known)
			}
		}
		slices.Sort(names)
		p.faults.Add(name, fault.Constraint, "must be one of "+strings.Join(names, ", "))
	}
	return chosen
}
