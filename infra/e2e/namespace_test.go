package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"
	"github.com/scaleway/scaleway-sdk-go/scw"
)

// createNamespace creates a namespace and returns its ID. It is deleted, with its
// containers, when the test ends.
func (b *testBundle) createNamespace(fields map[string]any) string {
	b.t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		b.t.Fatal(err)
	}
	r := b.do(http.MethodPost, regional+"/namespaces", string(body), nil)
	if r.status != http.StatusOK {
		b.t.Fatalf("creating a namespace: %d %s", r.status, r.text)
	}
	id := r.body["id"].(string)
	b.t.Cleanup(func() { b.do(http.MethodDelete, regional+"/namespaces/"+id, "", nil) })
	return id
}

func TestNamespace_StockClientCreatesUpdatesAndDeletesIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created, err := b.api.CreateNamespace(&container.CreateNamespaceRequest{
		Name: "jobs", Description: scw.StringPtr("d"), Tags: []string{"t"},
		EnvironmentVariables:       map[string]string{"A": "a"},
		SecretEnvironmentVariables: map[string]string{"S": "hush"},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.t.Cleanup(func() { b.do(http.MethodDelete, regional+"/namespaces/"+created.ID, "", nil) })
	if created.Status != container.NamespaceStatusReady || created.ErrorMessage != nil || created.ProjectID != b.organization ||
		created.OrganizationID != b.organization || created.Region != scw.RegionFrPar || !strings.HasSuffix(created.Srn, "/regions/fr-par/namespaces/"+created.ID) ||
		!strings.HasPrefix(created.SecretEnvironmentVariables["S"], "$argon2id$") || created.EnvironmentVariables["A"] != "a" {
		t.Errorf("got %+v", created)
	}

	updated, err := b.api.UpdateNamespace(&container.UpdateNamespaceRequest{NamespaceID: created.ID, Description: scw.StringPtr("only")})
	if err != nil {
		t.Fatal(err)
	}
	want := *created
	want.Description, want.UpdatedAt = "only", updated.UpdatedAt
	wanted, _ := json.Marshal(want)
	if got, _ := json.Marshal(updated); string(got) != string(wanted) || !updated.UpdatedAt.After(*created.UpdatedAt) {
		t.Errorf("an update of the description alone: got %s, want %s", got, wanted)
	}
	waited, err := b.api.WaitForNamespace(&container.WaitForNamespaceRequest{NamespaceID: created.ID})
	if got, _ := json.Marshal(waited); err != nil || string(got) != string(wanted) {
		t.Errorf("got %s, %v, want %s", got, err, wanted)
	}

	// Two containers in it, one of them with triggers, and one container beside it.
	var inside []string
	for _, name := range []string{"one", "two"} {
		registered, err := b.api.CreateContainer(&container.CreateContainerRequest{NamespaceID: created.ID, Name: name, Image: "http://127.0.0.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		inside = append(inside, registered.ID)
	}
	beside := b.containerID
	b.containerID = inside[0]
	trigger := b.createCron("daily", "@daily", "UTC")
	b.wait(trigger.ID)
	listed, err := b.api.ListTriggers(&container.ListTriggersRequest{NamespaceID: &created.ID})
	if err != nil || len(listed.Triggers) != 1 || listed.Triggers[0].ID != trigger.ID {
		t.Errorf("the triggers of the namespace: got %+v, %v", listed, err)
	}

	deleting, err := b.api.DeleteNamespace(&container.DeleteNamespaceRequest{NamespaceID: created.ID})
	if err != nil || deleting.Status != container.NamespaceStatusDeleting {
		t.Fatalf("got %+v, %v", deleting, err)
	}
	if _, err := b.api.CreateContainer(&container.CreateContainerRequest{NamespaceID: created.ID, Name: "late", Image: "http://127.0.0.1:1"}); err == nil {
		t.Error("a container was created in a namespace that is being deleted")
	}
	b.eventually("the namespace is gone", func() bool {
		_, err := b.api.GetNamespace(&container.GetNamespaceRequest{NamespaceID: created.ID})
		return isNotFound(err)
	})
	for _, id := range inside {
		if _, err := b.api.GetContainer(&container.GetContainerRequest{ContainerID: id}); !isNotFound(err) {
			t.Errorf("a container of it: got %v", err)
		}
	}
	if _, err := b.api.GetTrigger(&container.GetTriggerRequest{TriggerID: trigger.ID}); !isNotFound(err) {
		t.Errorf("a trigger of it: got %v", err)
	}
	if left := b.schedules(trigger.ID); len(left) != 0 {
		t.Errorf("schedules are left: %v", left)
	}
	if found, err := b.api.GetContainer(&container.GetContainerRequest{ContainerID: beside}); err != nil || found.Status != container.ContainerStatusReady {
		t.Errorf("the container beside it: got %+v, %v", found, err)
	}
	if logged := b.loggedOf("hush"); logged != "" {
		t.Errorf("the secret is in the log: %s", logged)
	}
}

func TestListNamespaces_FiltersAndOrdersAsTheSDKAsks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := uuid.NewString()
	for _, fields := range []map[string]any{{"name": "bravo"}, {"name": "alpha"}, {"name": "charlie", "project_id": other}} {
		b.createNamespace(fields)
	}
	organization := b.organization
	for name, test := range map[string]struct {
		request container.ListNamespacesRequest
		want    string
	}{
		"by default":      {container.ListNamespacesRequest{}, "bravo alpha charlie"},
		"the newest":      {container.ListNamespacesRequest{OrderBy: container.ListNamespacesRequestOrderByCreatedAtDesc}, "charlie alpha bravo"},
		"by name":         {container.ListNamespacesRequest{OrderBy: container.ListNamespacesRequestOrderByNameAsc}, "alpha bravo charlie"},
		"by name, last":   {container.ListNamespacesRequest{OrderBy: container.ListNamespacesRequestOrderByNameDesc}, "charlie bravo alpha"},
		"of a project":    {container.ListNamespacesRequest{ProjectID: &other}, "charlie"},
		"of a name":       {container.ListNamespacesRequest{Name: scw.StringPtr("alpha")}, "alpha"},
		"of no name":      {container.ListNamespacesRequest{Name: scw.StringPtr("alph")}, ""},
		"organization":    {container.ListNamespacesRequest{OrganizationID: &organization}, "bravo alpha charlie"},
		"another":         {container.ListNamespacesRequest{OrganizationID: &other}, ""},
		"in all regions":  {container.ListNamespacesRequest{}, "bravo alpha charlie"},
		"page after page": {container.ListNamespacesRequest{PageSize: scw.Uint32Ptr(1)}, "bravo alpha charlie"},
	} {
		var options []scw.RequestOption
		switch name {
		case "in all regions":
			options = append(options, scw.WithRegions(b.api.Regions()...))
		case "page after page":
			options = append(options, scw.WithAllPages())
		}
		listed, err := b.api.ListNamespaces(&test.request, options...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var names []string
		for _, found := range listed.Namespaces {
			names = append(names, found.Name)
		}
		if got := strings.Join(names, " "); got != test.want || int(listed.TotalCount) != len(names) {
			t.Errorf("%s: got %q of %d, want %q", name, got, listed.TotalCount, test.want)
		}
	}
	for query, want := range map[string]string{
		"order_by=id": "order_by", "project_id=x": "project_id", "page=0": "page", "page_size=101": "page_size", "name=a&name=b": "name",
	} {
		r := b.do(http.MethodGet, regional+"/namespaces?"+query, "", nil)
		if r.status != http.StatusBadRequest || !strings.Contains(r.text, `"argument_name":"`+want+`"`) {
			t.Errorf("%s: got %d %s", query, r.status, r.text)
		}
	}
}

// setNamespace writes a container's namespace_id into its row, past the API.
func (b *testBundle) setNamespace(containerID, namespaceID string) {
	b.t.Helper()
	_, err := dynamodb.NewFromConfig(b.AWSConfig()).UpdateItem(b.t.Context(), &dynamodb.UpdateItemInput{
		TableName:                 aws.String(b.Function("get-container").Environment["CONTAINERS_TABLE"]),
		Key:                       map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: containerID}},
		UpdateExpression:          aws.String("SET namespace_id = :namespace"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":namespace": &types.AttributeValueMemberS{Value: namespaceID}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// TestContainer_KeepsWorkingInAnUnknownNamespace has a row from before there were
// namespaces.
func TestContainer_KeepsWorkingInAnUnknownNamespace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	unknown := uuid.NewString()
	b.setNamespace(b.containerID, unknown)
	listed, err := b.api.ListContainers(&container.ListContainersRequest{NamespaceID: &unknown})
	if err != nil || !slices.ContainsFunc(listed.Containers, func(c *container.Container) bool { return c.ID == b.containerID }) {
		t.Errorf("the list: got %+v, %v", listed, err)
	}
	if updated, err := b.api.UpdateContainer(&container.UpdateContainerRequest{ContainerID: b.containerID, Description: scw.StringPtr("d")}); err != nil || updated.NamespaceID != unknown {
		t.Errorf("an update: got %+v, %v", updated, err)
	}
	trigger := b.createCron("n", "@daily", "UTC")
	b.wait(trigger.ID)
	if _, err := b.api.DeleteContainer(&container.DeleteContainerRequest{ContainerID: b.containerID}); err != nil {
		t.Fatal(err)
	}
	b.eventually("the container is gone", func() bool {
		_, err := b.api.GetContainer(&container.GetContainerRequest{ContainerID: b.containerID})
		return isNotFound(err)
	})
}
