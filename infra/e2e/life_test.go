package e2e

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	awsscheduler "github.com/aws/aws-sdk-go-v2/service/scheduler"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"
	"github.com/scaleway/scaleway-sdk-go/scw"

	"containertriggers/infra/local/lambda"
	"containertriggers/infra/local/sample"
)

// schedules counts what is left in Scheduler of a trigger.
func (b *testBundle) schedules(triggerID string) (expressions []string) {
	b.t.Helper()
	client := awsscheduler.NewFromConfig(b.AWSConfig())
	group := b.Function("reconcile").Environment["SCHEDULE_GROUP"]
	pages := awsscheduler.NewListSchedulesPaginator(client, &awsscheduler.ListSchedulesInput{GroupName: &group, NamePrefix: &triggerID})
	for pages.HasMorePages() {
		page, err := pages.NextPage(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		for _, summary := range page.Schedules {
			schedule, err := client.GetSchedule(b.t.Context(), &awsscheduler.GetScheduleInput{Name: summary.Name, GroupName: &group})
			if err != nil {
				b.t.Fatal(err)
			}
			expressions = append(expressions, *schedule.ScheduleExpression+" "+*schedule.ScheduleExpressionTimezone)
		}
	}
	slices.Sort(expressions)
	return expressions
}

func isNotFound(err error) bool {
	_, ok := errors.AsType[*scw.ResourceNotFoundError](err)
	return ok
}

func TestCronTrigger_StockClientCreatesUpdatesAndDeletesIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created, err := b.api.CreateTrigger(&container.CreateTriggerRequest{
		ContainerID: b.containerID, Name: "life", Tags: []string{"a", "b"},
		DestinationConfig: &container.CreateTriggerRequestDestinationConfig{
			HTTPPath: "/hook?x=1", HTTPMethod: container.CreateTriggerRequestDestinationConfigHTTPMethodPut,
		},
		CronConfig: &container.CreateTriggerRequestCronConfig{
			Schedule: "* * * * *", Timezone: "Europe/Paris", Body: `{"old":true}`,
			Headers: map[string]string{"X-Mine": "1", "Content-Length": "999", "Host": "evil.example"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if created.Status != container.TriggerStatusCreating || created.ErrorMessage != nil {
		t.Errorf("got status %s, message %v", created.Status, created.ErrorMessage)
	}
	ready := b.wait(created.ID)
	if ready.Status != container.TriggerStatusReady || ready.ErrorMessage == nil || *ready.ErrorMessage != "" {
		t.Fatalf("got status %s, message %v", ready.Status, ready.ErrorMessage)
	}

	b.nextMinute()
	first := b.nextCall()
	for name, got := range map[string][2]string{
		"method":         {first.method, http.MethodPut},
		"uri":            {first.uri, "/hook?x=1"},
		"body":           {first.body, `{"old":true}`},
		"own header":     {first.header.Get("X-Mine"), "1"},
		"not sent":       {first.header.Get("X-Remapped-Host"), ""},
		"content type":   {first.header.Get("Content-Type"), "application/json"},
		"content length": {first.header.Get("Content-Length"), "12"},
		"spec version":   {first.header.Get("Ce-Specversion"), "1.0"},
		"source":         {first.header.Get("Ce-Source"), regional + "/triggers/" + created.ID},
		"type":           {first.header.Get("Ce-Type"), "containertriggers.cron"},
		"id":             {first.header.Get("Ce-Id"), created.ID + "/" + first.header.Get("Ce-Time")},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: got %q, want %q", name, got[0], got[1])
		}
	}
	if due, err := time.Parse(time.RFC3339, first.header.Get("Ce-Time")); err != nil || due.Second() != 0 {
		t.Errorf("got the scheduled time %q", first.header.Get("Ce-Time"))
	}

	body := "new"
	updated, err := b.api.UpdateTrigger(&container.UpdateTriggerRequest{
		TriggerID: created.ID, Tags: &[]string{},
		CronConfig: &container.UpdateTriggerRequestCronConfig{Body: &body},
	})
	if err != nil {
		t.Fatal(err)
	}
	if updated.Status != container.TriggerStatusUpdating || len(updated.Tags) != 0 || updated.CronConfig.Schedule != "* * * * *" {
		t.Errorf("got %+v", updated)
	}
	changed := b.now()
	b.wait(created.ID)
	b.nextMinute()
	second := b.nextCall()
	for !dueAfter(t, second, changed) { // it was due before, for other tests move the clock too
		second = b.nextCall()
	}
	if second.body != "new" || second.header.Get("Ce-Id") == first.header.Get("Ce-Id") {
		t.Errorf("got body %q of %s", second.body, second.header.Get("Ce-Id"))
	}
	if got := second.header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("got content type %q", got)
	}

	deleted, err := b.api.DeleteTrigger(&container.DeleteTriggerRequest{TriggerID: created.ID})
	if err != nil || deleted.Status != container.TriggerStatusDeleting {
		t.Fatalf("got %+v, %v", deleted, err)
	}
	b.eventually("the trigger is gone", func() bool {
		_, err := b.api.GetTrigger(&container.GetTriggerRequest{TriggerID: created.ID})
		return isNotFound(err)
	})
	if _, err := b.api.DeleteTrigger(&container.DeleteTriggerRequest{TriggerID: created.ID}); !isNotFound(err) {
		t.Errorf("deleting again: %v", err)
	}
	if left := b.schedules(created.ID); len(left) != 0 {
		t.Errorf("schedules are left: %v", left)
	}
	for len(b.calls) > 0 {
		if late := <-b.calls; late.body != "new" && dueAfter(t, late, changed) {
			t.Errorf("the old body was sent after the update")
		}
	}
}

// dueAfter says whether a call is of an occurrence after that time.
func dueAfter(t *testing.T, c call, at time.Time) bool {
	t.Helper()
	due, err := time.Parse(time.RFC3339, c.header.Get("Ce-Time"))
	if err != nil {
		t.Fatal(err)
	}
	return due.After(at)
}

func TestCronTrigger_BothDayFieldsMakeTwoSchedulesAndOneCall(t *testing.T) {
	t.Parallel()
	// Monday the 1st of February 2027 begins in Paris.
	midnight := time.Date(2027, 1, 31, 23, 0, 0, 0, time.UTC)
	w, err := start(time.Until(midnight.Add(-10*time.Minute)), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := setupIn(t, w)
	both := b.createCron("both", "0 0 1 * 1", "Europe/Paris")
	b.wait(both.ID)
	want := "cron(0 0 1 * ? *) Europe/Paris; cron(0 0 ? * 2 *) Europe/Paris"
	if got := strings.Join(b.schedules(both.ID), "; "); got != want {
		t.Fatalf("got schedules %s, want %s", got, want)
	}
	// Another trigger, due a minute later, shows that the first one's minute is
	// over.
	later := b.createCron("later", "1 0 * * *", "Europe/Paris")
	b.wait(later.ID)
	b.moveTo(midnight)
	if first := b.nextCall(); first.body != "of both" || first.header.Get("Ce-Time") != midnight.Format(time.RFC3339) {
		t.Errorf("got %q at %s", first.body, first.header.Get("Ce-Time"))
	}
	b.eventually("the second schedule's occurrence is turned away", func() bool {
		return strings.Contains(b.logged(), "the occurrence is delivered, or another delivery holds it")
	})
	b.nextMinute()
	if second := b.nextCall(); second.body != "of later" {
		t.Errorf("got %q twice", second.body)
	}

	schedule := "5 5 * * *"
	if _, err := b.api.UpdateTrigger(&container.UpdateTriggerRequest{
		TriggerID: both.ID, CronConfig: &container.UpdateTriggerRequestCronConfig{Schedule: &schedule},
	}); err != nil {
		t.Fatal(err)
	}
	b.wait(both.ID)
	if got := b.schedules(both.ID); len(got) != 1 || got[0] != "cron(5 5 * * ? *) Europe/Paris" {
		t.Errorf("got schedules %v after the update", got)
	}
}

func TestCronTrigger_CallsOnTheDaysThatBothFieldsMatch(t *testing.T) {
	t.Parallel()
	// Monday the 1st of February 2027 begins in Paris.
	midnight := time.Date(2027, 1, 31, 23, 0, 0, 0, time.UTC)
	w, err := start(time.Until(midnight.Add(-10*time.Minute)), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := setupIn(t, w)
	for name, test := range map[string]struct{ schedule, want string }{
		"an odd Monday":       {"0 0 */2 * 1", "cron(0 0 ? * 2 *) Europe/Paris"},
		"the 1st of Tuesdays": {"0 0 1 * */2", "cron(0 0 1 * ? *) Europe/Paris"},
		"later":               {"1 0 1-31 * 2", "cron(1 0 * * ? *) Europe/Paris"},
	} {
		created := b.createCron(name, test.schedule, "Europe/Paris")
		b.wait(created.ID)
		if got := strings.Join(b.schedules(created.ID), "; "); got != test.want {
			t.Errorf("%s: got schedules %s, want %s", name, got, test.want)
		}
	}
	b.moveTo(midnight)
	if first := b.nextCall(); first.body != "of an odd Monday" {
		t.Errorf("got %q", first.body)
	}
	b.eventually("the other occurrence is filtered", func() bool {
		return strings.Contains(b.logged(), "the other day field does not match")
	})
	b.nextMinute()
	if second := b.nextCall(); second.body != "of later" {
		t.Errorf("got %q", second.body)
	}
}

func TestDeleteContainer_DeletesItsTriggersFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []string
	for _, name := range []string{"one", "two", "three"} {
		ids = append(ids, b.createCron(name, "0 0 1 1 *", "UTC").ID)
	}
	b.wait(ids[0]) // the others may still be on their way
	r := b.do(http.MethodDelete, regional+"/containers/"+b.containerID, "", nil)
	if r.status != http.StatusOK || r.body["status"] != "deleting" {
		t.Fatalf("got %d %s", r.status, r.text)
	}
	_, err := b.api.CreateTrigger(&container.CreateTriggerRequest{
		ContainerID: b.containerID, Name: "late", CronConfig: &container.CreateTriggerRequestCronConfig{Schedule: "@daily"},
	})
	if err == nil {
		t.Error("a container that is being deleted takes a trigger")
	}
	b.eventually("the container is gone", func() bool {
		return b.do(http.MethodGet, regional+"/containers/"+b.containerID, "", nil).status == http.StatusNotFound
	})
	for _, id := range ids {
		if _, err := b.api.GetTrigger(&container.GetTriggerRequest{TriggerID: id}); !isNotFound(err) {
			t.Errorf("trigger %s: %v", id, err)
		}
		if left := b.schedules(id); len(left) != 0 {
			t.Errorf("schedules are left: %v", left)
		}
	}
}

// TestSampleEvents_ShowAnOperationThatWorks runs each function on its file in
// events/, as `sam local invoke` does.
func TestSampleEvents_ShowAnOperationThatWorks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	calls := make(chan call, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls <- call{r.Method, r.URL.RequestURI(), r.Header, string(body)}
	}))
	t.Cleanup(server.Close)
	if err := sample.Store(t.Context(), b.AWSEndpoint(), b.Function("reconcile").Environment, b.Function("get-run").Environment["RUNS_TABLE"], server.URL); err != nil {
		t.Fatal(err)
	}
	b.eventually("the sample triggers are ready", func() bool {
		answer := b.runSample("list-trigger")
		return strings.Count(answer, `\"status\":\"ready\"`) == 3
	})
	folders, err := filepath.Glob("../../functions/*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("got %v, %v", folders, err)
	}
	for _, folder := range folders {
		answer := b.runSample(filepath.Base(folder))
		if strings.Contains(answer, "statusCode") && !strings.Contains(answer, `"statusCode":200,`) || strings.Contains(answer, "itemIdentifier") {
			t.Errorf("%s: got %s", filepath.Base(folder), answer)
		}
	}
	got := map[string]string{}
	for len(calls) > 0 {
		c := <-calls
		got[c.uri] = c.body
	}
	if got["/jobs"] != `{"job":"nightly"}` || got["/now"] != `{"job":"now"}` || got["/orders"] != `{"order":1}` {
		t.Errorf("the container was called with %v", got)
	}
}

// runSample runs a function on its sample event and returns what it answers.
func (b *testBundle) runSample(function string) string {
	b.t.Helper()
	event, err := os.ReadFile("../../events/" + function + ".json")
	if err != nil {
		b.t.Fatalf("%s has no sample event: %v", function, err)
	}
	event = bytes.ReplaceAll(event, []byte("123456789012"), []byte(b.Account()))
	var answer []byte
	b.eventually(function+" is not throttled", func() bool {
		answer, err = b.Invoke(b.t.Context(), function, event)
		_, throttled := errors.AsType[*lambda.ThrottledError](err) // the cloud may be running sweep or watch, of which there is one run at a time
		return !throttled
	})
	if err != nil {
		b.t.Fatalf("%s: %v", function, err)
	}
	return string(answer)
}
