package listing_test

import (
	"net/url"
	"reflect"
	"strings"
	"testing"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/listing"
	"containertriggers/shared/domain/trigger"
)

const (
	upper = "8F5D9521-E950-41E0-B980-B85131050AFF"
	id    = "8f5d9521-e950-41e0-b980-b85131050aff"
	other = "0e5a1a7e-7a0c-4e0b-9f0e-0f2c3f6f0a11"
)

// parse parses a query string as a list does.
func parse(t *testing.T, read func(string, url.Values) (listing.Query, error), query string) (listing.Query, error) {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	return read("fr-par", values)
}

func TestTriggers_ReadsFiltersOrderAndPage(t *testing.T) {
	t.Parallel()
	first := listing.Query{Region: "fr-par", Page: 1, PageSize: 20}
	with := func(change func(*listing.Query)) listing.Query {
		q := first
		change(&q)
		return q
	}
	for query, want := range map[string]listing.Query{
		"": first,
		// Stock clients send the zero value of a parameter that the user did not set.
		"page=&page_size=&order_by=&organization_id=&project_id=&namespace_id=&container_id=&trigger_type=": first,
		"trigger_type=unknown_source_type":    first,
		"unknown=1&name=n":                    first,
		"page=7&page_size=100":                with(func(q *listing.Query) { q.Page, q.PageSize = 7, 100 }),
		"page=2147483647":                     with(func(q *listing.Query) { q.Page = 1<<31 - 1 }),
		"organization_id=" + upper:            with(func(q *listing.Query) { q.OrganizationID = id }),
		"project_id=" + upper:                 with(func(q *listing.Query) { q.ProjectIDs = []string{id} }),
		"namespace_id=" + id:                  with(func(q *listing.Query) { q.NamespaceID = id }),
		"container_id=" + id:                  with(func(q *listing.Query) { q.ContainerID = id }),
		"trigger_type=cron":                   with(func(q *listing.Query) { q.Source = trigger.SourceCron }),
		"trigger_type=sqs":                    with(func(q *listing.Query) { q.Source = trigger.SourceSQS }),
		"trigger_type=nats":                   with(func(q *listing.Query) { q.Source = trigger.SourceNATS }),
		"order_by=created_at_asc":             first,
		"order_by=created_at_desc":            with(func(q *listing.Query) { q.Order.Descending = true }),
		"order_by=name_asc":                   with(func(q *listing.Query) { q.Order.ByName = true }),
		"order_by=name_desc":                  with(func(q *listing.Query) { q.Order = listing.Order{ByName: true, Descending: true} }),
		"trigger_type=sqs&container_id=" + id: with(func(q *listing.Query) { q.Source, q.ContainerID = trigger.SourceSQS, id }),
	} {
		if got, err := parse(t, listing.Triggers, query); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v; want %+v", query, got, err, want)
		}
	}
}

func TestContainers_FiltersByNameAndNotBySource(t *testing.T) {
	t.Parallel()
	got, err := parse(t, listing.Containers, "name=shop&trigger_type=sqs&container_id=x&namespace_id="+id)
	want := listing.Query{Region: "fr-par", Name: "shop", NamespaceID: id, Page: 1, PageSize: 20}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestTriggers_NamesEveryFault(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"page=0": "page constraint", "page=-1": "page constraint", "page=2147483648": "page constraint",
		"page=x": "page format", "page=1.5": "page format", "page=1e3": "page format", "page=99999999999999999999": "page format",
		"page_size=0": "page_size constraint", "page_size=101": "page_size constraint",
		"order_by=name": "order_by constraint", "order_by=NAME_ASC": "order_by constraint",
		"trigger_type=kafka":        "trigger_type constraint",
		"organization_id=x":         "organization_id format",
		"page=1&page=2":             "page constraint",
		"container_id={" + id + "}": "container_id format",
		"project_id=x&namespace_id=y&container_id=z&page=0&page_size=x&order_by=z&trigger_type=z&organization_id=w": "organization_id format, " +
			"order_by constraint, page constraint, page_size format, project_id format, namespace_id format, container_id format, trigger_type constraint",
	} {
		_, err := parse(t, listing.Triggers, query)
		arguments, _ := apierr.From(err).Details.([]apierr.Argument)
		var got []string
		for _, a := range arguments {
			got = append(got, a.Name+" "+string(a.Reason))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%q: got %s, want %s", query, strings.Join(got, ", "), want)
		}
	}
}

func TestWithin_BoundsTheQueryToTheCaller(t *testing.T) {
	t.Parallel()
	everywhere := auth.Principal{OrganizationID: "o"}
	projects := auth.Principal{OrganizationID: "o", ProjectIDs: []string{id}}
	for name, test := range map[string]struct {
		caller auth.Principal
		query  listing.Query
		want   listing.Query
		ok     bool
	}{
		"no filter":                  {everywhere, listing.Query{}, listing.Query{OrganizationID: "o"}, true},
		"no filter, some projects":   {projects, listing.Query{}, listing.Query{OrganizationID: "o", ProjectIDs: []string{id}}, true},
		"the own organization":       {everywhere, listing.Query{OrganizationID: "o"}, listing.Query{OrganizationID: "o"}, true},
		"another organization":       {everywhere, listing.Query{OrganizationID: "x"}, listing.Query{OrganizationID: "x"}, false},
		"a project":                  {everywhere, listing.Query{ProjectIDs: []string{other}}, listing.Query{OrganizationID: "o", ProjectIDs: []string{other}}, true},
		"a project of some":          {projects, listing.Query{ProjectIDs: []string{id}}, listing.Query{OrganizationID: "o", ProjectIDs: []string{id}}, true},
		"a project that is not ours": {projects, listing.Query{ProjectIDs: []string{other}}, listing.Query{OrganizationID: "o", ProjectIDs: []string{other}}, false},
	} {
		got, ok := test.query.Within(test.caller)
		if ok != test.ok || ok && !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, %t", name, got, ok)
		}
	}
}
