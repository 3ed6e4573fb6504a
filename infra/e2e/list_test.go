package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/google/uuid"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"
	"github.com/scaleway/scaleway-sdk-go/scw"
)

func namesOf(triggers []*container.Trigger) []string {
	names := make([]string, len(triggers))
	for i, trigger := range triggers {
		names[i] = trigger.Name
	}
	return names
}

func TestListTriggers_OrdersFiltersAndPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.createContainer(map[string]any{
		"name": "other", "public_endpoint": "https://example.com/app", "namespace_id": b.createNamespace(map[string]any{"name": "other", "project_id": uuid.NewString()}),
	})
	for _, name := range []string{"delta", "alpha", "charlie"} {
		b.createCron(name, "@daily", "UTC")
	}
	created, err := b.api.CreateTrigger(&container.CreateTriggerRequest{
		ContainerID: other, Name: "bravo",
		NatsConfig: &container.CreateTriggerRequestNATSConfig{ServerURLs: []string{"nats://127.0.0.1:1"}, Subject: "a.>"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var otherContainer struct{ project, namespace string }
	r := b.do(http.MethodGet, regional+"/containers/"+other, "", nil)
	otherContainer.project, otherContainer.namespace = r.body["project_id"].(string), r.body["namespace_id"].(string)

	for name, test := range map[string]struct {
		request container.ListTriggersRequest
		want    []string
	}{
		"by default, the oldest first": {container.ListTriggersRequest{}, []string{"delta", "alpha", "charlie", "bravo"}},
		"the oldest first":             {container.ListTriggersRequest{OrderBy: "created_at_asc"}, []string{"delta", "alpha", "charlie", "bravo"}},
		"the newest first":             {container.ListTriggersRequest{OrderBy: "created_at_desc"}, []string{"bravo", "charlie", "alpha", "delta"}},
		"by name":                      {container.ListTriggersRequest{OrderBy: "name_asc"}, []string{"alpha", "bravo", "charlie", "delta"}},
		"by name, backwards":           {container.ListTriggersRequest{OrderBy: "name_desc"}, []string{"delta", "charlie", "bravo", "alpha"}},
		"of a container":               {container.ListTriggersRequest{ContainerID: &other}, []string{"bravo"}},
		"of a source":                  {container.ListTriggersRequest{TriggerType: "cron", OrderBy: "name_asc"}, []string{"alpha", "charlie", "delta"}},
		"of any source":                {container.ListTriggersRequest{TriggerType: "unknown_source_type", OrderBy: "name_asc"}, []string{"alpha", "bravo", "charlie", "delta"}},
		"of another source":            {container.ListTriggersRequest{TriggerType: "sqs"}, []string{}},
		"of the organization":          {container.ListTriggersRequest{OrganizationID: &b.organization, OrderBy: "name_asc"}, []string{"alpha", "bravo", "charlie", "delta"}},
		"of another organization":      {container.ListTriggersRequest{OrganizationID: scw.StringPtr(uuid.NewString())}, []string{}},
		"of a project":                 {container.ListTriggersRequest{ProjectID: &otherContainer.project}, []string{"bravo"}},
		"of a namespace":               {container.ListTriggersRequest{NamespaceID: &otherContainer.namespace}, []string{"bravo"}},
		"of a project and a source":    {container.ListTriggersRequest{ProjectID: &otherContainer.project, TriggerType: "cron"}, []string{}},
		"on a page":                    {container.ListTriggersRequest{OrderBy: "name_asc", Page: scw.Int32Ptr(2), PageSize: scw.Uint32Ptr(3)}, []string{"delta"}},
		"past the last page":           {container.ListTriggersRequest{Page: scw.Int32Ptr(9), PageSize: scw.Uint32Ptr(100)}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			var answer *container.ListTriggersResponse
			b.eventually(name, func() bool {
				var err error
				if answer, err = b.api.ListTriggers(&test.request); err != nil {
					t.Fatal(err)
				}
				return slices.Equal(namesOf(answer.Triggers), test.want)
			})
			if test.request.Page == nil && answer.TotalCount != uint64(len(test.want)) {
				t.Errorf("got total count %d of %d", answer.TotalCount, len(test.want))
			}
			if test.request.Page != nil && answer.TotalCount != 4 {
				t.Errorf("got total count %d of 4", answer.TotalCount)
			}
		})
	}
	if created.Status != container.TriggerStatusCreating || created.NatsConfig.Subject != "a.>" {
		t.Errorf("got %+v", created)
	}
}

func TestListTriggers_StockClientFindsAllPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const count = 23
	for i := range count {
		b.createCron(fmt.Sprintf("t%02d", i), "@yearly", "UTC")
	}
	for _, size := range []uint32{1, 7, 20, 100} {
		all, err := b.api.ListTriggers(&container.ListTriggersRequest{PageSize: &size, OrderBy: "name_asc"}, scw.WithAllPages())
		if err != nil {
			t.Fatal(err)
		}
		names := namesOf(all.Triggers)
		if len(names) != count || !slices.IsSorted(names) || len(slices.Compact(names)) != count {
			t.Errorf("page size %d: got %v", size, names)
		}
	}
	regions, err := b.api.ListTriggers(&container.ListTriggersRequest{}, scw.WithRegions(scw.AllRegions...), scw.WithAllPages())
	if err != nil || len(regions.Triggers) != count {
		t.Errorf("in all regions: got %d triggers, %v", len(regions.Triggers), err)
	}
}

func TestListTriggers_NamesEveryFaultOfTheQuery(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for query, want := range map[string][]string{
		"page=0":                               {"page: constraint"},
		"page=-1":                              {"page: constraint"},
		"page=x":                               {"page: format"},
		"page=99999999999999999999":            {"page: format"},
		"page=99999999999":                     {"page: constraint"},
		"page_size=0":                          {"page_size: constraint"},
		"page_size=101":                        {"page_size: constraint"},
		"order_by=id_asc":                      {"order_by: constraint"},
		"trigger_type=kafka":                   {"trigger_type: constraint"},
		"organization_id=x":                    {"organization_id: format"},
		"project_id=x":                         {"project_id: format"},
		"namespace_id=x":                       {"namespace_id: format"},
		"container_id=" + uuid.NewString()[1:]: {"container_id: format"},
		"page=1&page=2":                        {"page: constraint"},
		"%zz":                                  {"query: format"},
		"page=x&page_size=x&project_id=x":      {"page: format", "page_size: format", "project_id: format"},
		"page=&order_by=&trigger_type=&project_id=&page_size=&unknown=1": nil,
	} {
		r := b.do(http.MethodGet, regional+"/triggers?"+query, "", nil)
		var got []string
		if details, ok := r.body["details"].([]any); ok {
			for _, detail := range details {
				d := detail.(map[string]any)
				got = append(got, d["argument_name"].(string)+": "+d["reason"].(string))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %d %s", query, r.status, r.text)
		}
	}
}

func TestRegion_IsServedOrNotFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, region := range []string{"eu-west-1", "xx", "fr-par2", url.PathEscape("fr/par"), "FR-PAR"} {
		for _, path := range []string{"/triggers", "/triggers/" + uuid.NewString(), "/containers"} {
			r := b.do(http.MethodGet, "/containers/v1/regions/"+region+path, "", nil)
			if r.status != http.StatusNotFound || r.body["resource"] != "region" {
				t.Errorf("%s%s: got %d %s", region, path, r.status, r.text)
			}
		}
	}
	const elsewhere = "/containers/v1/regions/xx-newtown" // well-formed, but not served
	for _, list := range []string{"/triggers", "/containers"} {
		if r := b.do(http.MethodGet, elsewhere+list, "", nil); r.status != http.StatusOK || r.body["total_count"] != 0.0 {
			t.Errorf("%s: got %d %s", elsewhere+list, r.status, r.text)
		}
		for method, path := range map[string]string{http.MethodPost: list, http.MethodGet: list + "/" + uuid.NewString()} {
			r := b.do(method, elsewhere+path, "{}", map[string]string{"Content-Type": "application/json"})
			if r.status != http.StatusNotFound || r.body["resource"] != "region" {
				t.Errorf("%s %s: got %d %s", method, elsewhere+path, r.status, r.text)
			}
		}
	}
	trigger := b.createCron("here", "@daily", "UTC")
	if r := b.do(http.MethodGet, "/containers/v1/regions/nl-ams/triggers/"+trigger.ID, "", nil); r.status != http.StatusNotFound || r.body["resource"] != "trigger" {
		t.Errorf("in another region: got %d %s", r.status, r.text)
	}
}
