package request

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"containertriggers/shared/contract/apierr"
)

// The default and the largest page size of a list.
const (
	defaultPageSize = 20
	maxPageSize     = 100
)

// Query reads single parameters of a query string and collects their faults. An empty
// value is the same as none.
type Query struct {
	Values url.Values
	Faults apierr.Arguments
}

// Only collects a fault for each parameter that has another name.
func (q *Query) Only(names ...string) {
	for _, name := range slices.Sorted(maps.Keys(q.Values)) {
		if !slices.Contains(names, name) {
			q.Faults.Add(name, apierr.Unknown, "is unknown; known are "+strings.Join(names, ", "))
		}
	}
}

// Get returns a parameter's value.
func (q *Query) Get(name string) string {
	if len(q.Values[name]) > 1 {
		q.Faults.Add(name, apierr.Constraint, "must be given only once")
	}
	return q.Values.Get(name)
}

// UUID returns a UUID in lower case, or "" if there is none.
func (q *Query) UUID(name string) string {
	value := q.Get(name)
	if value == "" {
		return ""
	}
	return UUID(&q.Faults, name, value)
}

// Number returns a whole number from 1 to most, or absent if there is none.
func (q *Query) Number(name string, absent, most int) int {
	value := q.Get(name)
	if value == "" {
		return absent
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		q.Faults.Add(name, apierr.Format, "must be a whole number")
	} else if n < 1 || n > int64(most) {
		q.Faults.Add(name, apierr.Constraint, "must be between 1 and "+strconv.Itoa(most))
	}
	return int(n)
}

// PageSize returns the parameter page_size.
func (q *Query) PageSize() int { return q.Number("page_size", defaultPageSize, maxPageSize) }

// Time returns a time in UTC, or the zero time if there is none.
func (q *Query) Time(name string) time.Time {
	value := q.Get(name)
	if value == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, value)
	if err != nil {
		q.Faults.Add(name, apierr.Format, "must be a time, such as 2026-11-25T08:00:00Z")
	}
	return at.UTC()
}

// Strings returns the values of a parameter that a client may repeat, or write with commas
// between several values. It collects a fault for each value that is not allowed.
func (q *Query) Strings(name string, allowed ...string) (values []string) {
	for value := range strings.SplitSeq(strings.Join(q.Values[name], ","), ",") {
		switch {
		case value == "" || slices.Contains(values, value):
		case !slices.Contains(allowed, value):
			q.Faults.Add(name, apierr.Constraint, "must be one of "+strings.Join(allowed, ", "))
		default:
			values = append(values, value)
		}
	}
	return values
}
