package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/run"
)

// TestTenancy_EachCallerSeesAndChangesOnlyItsOwn asks every call of the API with every kind of
// key, and expects the contract's answer; and of what a caller may not know of,
// nothing in any answer or log line.
func TestTenancy_EachCallerSeesAndChangesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// What nobody else is to see, but for the IDs that he names himself.
	const mark = "nobody-elses-business"
	namespace := b.createNamespace(map[string]any{"name": mark, "description": mark, "tags": []string{mark}, "environment_variables": map[string]string{mark: mark}})
	b.containerID = b.createContainer(map[string]any{"namespace_id": namespace, "name": mark, "description": mark, "tags": []string{mark}, "public_endpoint": "http://" + mark + ".test"})
	trigger := b.createCron(mark, "@daily", "UTC")
	b.wait(trigger.ID)
	failed := run.Run{
		Key: run.Key{TriggerID: trigger.ID, Event: "2026-11-25T00:00:00Z"}, ContainerID: b.containerID, Region: "fr-par",
		Owner:  auth.Owner{OrganizationID: b.organization, ProjectID: b.organization},
		Origin: run.Schedule, Message: mark, ScheduledAt: time.Now(), TerminatedAt: time.Now(),
	}
	db := dynamodb.NewFromConfig(b.AWSConfig())
	if err := (store.Runs{Client: db, Table: b.Function("get-run").Environment["RUNS_TABLE"]}).GiveUp(t.Context(), failed); err != nil {
		t.Fatal(err)
	}

	other, organization := uuid.NewString(), uuid.NewString()
	revoked := b.newKey(auth.Principal{OrganizationID: b.organization, PermissionSet: auth.FullAccess}, far())
	keys := store.Keys{Client: db, Table: b.Function("get-trigger").Environment["KEYS_TABLE"]}
	if err := keys.Revoke(t.Context(), auth.Hash(revoked)); err != nil {
		t.Fatal(err)
	}
	// The one who may do everything comes last: it deletes.
	callers := []struct{ name, key string }{
		{"missing", ""},
		{"malformed", "not-a-uuid"},
		{"unknown", uuid.NewString()},
		{"expired", b.newKey(auth.Principal{OrganizationID: b.organization, PermissionSet: auth.FullAccess}, past())},
		{"revoked", revoked},
		{"other organization", b.newKey(auth.Principal{OrganizationID: organization, DefaultProjectID: other, PermissionSet: auth.FullAccess}, far())},
		{"other project", b.newKey(auth.Principal{OrganizationID: b.organization, ProjectIDs: []string{other}, DefaultProjectID: other, PermissionSet: auth.FullAccess}, far())},
		{"read-only elsewhere", b.newKey(auth.Principal{OrganizationID: organization, DefaultProjectID: other, PermissionSet: auth.ReadOnly}, far())},
		{"read-only", b.newKey(auth.Principal{OrganizationID: b.organization, DefaultProjectID: b.organization, PermissionSet: auth.ReadOnly}, far())},
		{"own project", b.newKey(auth.Principal{OrganizationID: b.organization, ProjectIDs: []string{b.organization}, DefaultProjectID: b.organization, PermissionSet: auth.FullAccess}, far())},
	}
	type want struct {
		status int
		kind   string
		more   string // must be in the answer
	}
	ok := want{200, "", ""}
	mine := func(id string) want { return want{200, "", id} }
	none, noRuns := want{200, "", `:[],"total_count":0`}, want{200, "", `{"trigger_runs":[],"next_page_token":null}`}
	daily := want{200, "", `{"description":"at 00:00 every day, UTC","timezone":"UTC","next_runs":[{"scheduled_at":"`}
	notFound := func(resource, id string) want {
		return want{404, "not_found", `"resource":"` + resource + `","resource_id":"` + id + `"`}
	}
	denied := func(resource string) want {
		return want{403, "permissions_denied", `"details":[{"action":"write","resource":"` + resource + `"}]`}
	}
	unauthenticated := func(reason string) want {
		return want{401, "denied_authentication", `"method":"api_key","reason":"` + reason + `"`}
	}
	createTrigger := `{"name":"` + mark + `","container_id":"` + b.containerID + `","cron_config":{"schedule":"@yearly"}}`
	createContainer := `{"name":"` + mark + `","public_endpoint":"http://` + mark + `.test","project_id":"` + b.organization + `","organization_id":"` + b.organization + `"}`
	createNamespace := `{"name":"` + mark + `","project_id":"` + b.organization + `","organization_id":"` + b.organization + `"}`
	createInNamespace := `{"name":"` + mark + `","public_endpoint":"http://` + mark + `.test","namespace_id":"` + namespace + `"}`
	noTrigger, noContainer, noNamespace := notFound("trigger", trigger.ID), notFound("container", b.containerID), notFound("namespace", namespace)
	noRun := notFound("trigger_run", failed.ID())
	for _, step := range []struct {
		name, method, path, body                   string
		full, readOnly, stranger, readOnlyStranger want
	}{
		{"list triggers", http.MethodGet, "/triggers", "", mine(trigger.ID), mine(trigger.ID), none, none},
		{"list the triggers of a container", http.MethodGet, "/triggers?container_id=" + b.containerID, "", mine(trigger.ID), mine(trigger.ID), none, none},
		{"list the triggers of an organization", http.MethodGet, "/triggers?organization_id=" + b.organization + "&project_id=" + b.organization, "", mine(trigger.ID), mine(trigger.ID), none, none},
		{"get trigger", http.MethodGet, "/triggers/" + trigger.ID, "", ok, ok, noTrigger, noTrigger},
		{"next runs", http.MethodGet, "/triggers/" + trigger.ID + "/next-runs", "", daily, daily, noTrigger, noTrigger},
		{"list the runs of a trigger", http.MethodGet, "/trigger-runs?trigger_id=" + trigger.ID, "", mine(failed.ID()), mine(failed.ID()), noRuns, noRuns},
		{"list failed runs", http.MethodGet, "/trigger-runs", "", mine(failed.ID()), mine(failed.ID()), noRuns, noRuns},
		{"list the failed runs of a project", http.MethodGet, "/trigger-runs?project_id=" + b.organization, "", mine(failed.ID()), mine(failed.ID()), noRuns, noRuns},
		{"get run", http.MethodGet, "/trigger-runs/" + failed.ID(), "", ok, ok, noRun, noRun},
		{"run a trigger", http.MethodPost, "/triggers/" + trigger.ID + "/run", `{"wait":"0s"}`, ok, denied("trigger"), noTrigger, noTrigger},
		{"pause a trigger", http.MethodPost, "/triggers/" + trigger.ID + "/pause", `{}`, ok, denied("trigger"), noTrigger, noTrigger},
		{"resume a trigger", http.MethodPost, "/triggers/" + trigger.ID + "/resume", `{}`, ok, denied("trigger"), noTrigger, noTrigger},
		{"replay a run", http.MethodPost, "/trigger-runs/" + failed.ID() + "/replay", `{}`, ok, denied("trigger_run"), noRun, noRun},
		{"delete run", http.MethodDelete, "/trigger-runs/" + failed.ID(), "", ok, denied("trigger_run"), noRun, noRun},
		{"preview a schedule", http.MethodPost, "/preview-schedule", `{"schedule":"@daily"}`, daily, daily, daily, daily},
		{"create trigger", http.MethodPost, "/triggers", createTrigger, ok, denied("trigger"), noContainer, denied("trigger")},
		{"update trigger", http.MethodPatch, "/triggers/" + trigger.ID, `{"description":"d"}`, ok, denied("trigger"), noTrigger, noTrigger},
		{"delete trigger", http.MethodDelete, "/triggers/" + trigger.ID, "", ok, denied("trigger"), noTrigger, noTrigger},
		{"list containers", http.MethodGet, "/containers?project_id=" + b.organization, "", mine(b.containerID), mine(b.containerID), none, none},
		{"get container", http.MethodGet, "/containers/" + b.containerID, "", ok, ok, noContainer, noContainer},
		{"create container", http.MethodPost, "/containers", createContainer, ok, denied("container"), denied("container"), denied("container")},
		{"update container", http.MethodPatch, "/containers/" + b.containerID, `{"description":"d"}`, ok, denied("container"), noContainer, noContainer},
		{"create container in a namespace", http.MethodPost, "/containers", createInNamespace, ok, denied("container"), noNamespace, denied("container")},
		{"delete container", http.MethodDelete, "/containers/" + b.containerID, "", ok, denied("container"), noContainer, noContainer},
		{"list namespaces", http.MethodGet, "/namespaces?project_id=" + b.organization, "", mine(namespace), mine(namespace), none, none},
		{"list namespaces by name", http.MethodGet, "/namespaces?name=" + mark, "", mine(namespace), mine(namespace), none, none},
		{"list the containers of a namespace", http.MethodGet, "/containers?namespace_id=" + namespace, "", ok, ok, none, none},
		{"get namespace", http.MethodGet, "/namespaces/" + namespace, "", ok, ok, noNamespace, noNamespace},
		{"create namespace", http.MethodPost, "/namespaces", createNamespace, ok, denied("namespace"), denied("namespace"), denied("namespace")},
		{"update namespace", http.MethodPatch, "/namespaces/" + namespace, `{"description":"d"}`, ok, denied("namespace"), noNamespace, noNamespace},
		{"delete namespace", http.MethodDelete, "/namespaces/" + namespace, "", ok, denied("namespace"), noNamespace, noNamespace},
	} {
		for _, caller := range callers {
			expected := map[string]want{
				"missing": unauthenticated("invalid_argument"), "malformed": unauthenticated("invalid_argument"),
				"unknown": unauthenticated("not_found"), "expired": unauthenticated("expired"), "revoked": unauthenticated("not_found"),
				"other organization": step.stranger, "other project": step.stranger, "read-only elsewhere": step.readOnlyStranger,
				"read-only": step.readOnly, "own project": step.full,
			}[caller.name]
			r := b.do(step.method, regional+step.path, step.body, map[string]string{"X-Auth-Token": caller.key})
			kind, _ := r.body["type"].(string)
			if r.status != expected.status || kind != expected.kind || !strings.Contains(r.text, expected.more) {
				t.Errorf("%s by %s: got %d %s, want %+v", step.name, caller.name, r.status, r.text, expected)
			}
			if caller.name == "read-only" || caller.name == "own project" {
				continue
			}
			for _, place := range []struct{ name, text string }{{"answer", r.text}, {"log", b.loggedOf(r.header.Get("X-Request-Id"))}} {
				if strings.Contains(place.text, mark) {
					t.Errorf("%s by %s: the %s holds what is another's: %s", step.name, caller.name, place.name, place.text)
				}
			}
		}
	}
}

// loggedOf are the lines that functions logged in which that stands.
func (w *world) loggedOf(part string) string {
	var of strings.Builder
	for line := range strings.Lines(w.logged()) {
		if strings.Contains(line, part) {
			of.WriteString(line)
		}
	}
	return of.String()
}
