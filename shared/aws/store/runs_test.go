package store_test

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/run"
)

// hour is the time of an event of the tests.
func hour(n int) time.Time { return time.Date(2026, 11, 25, n, 0, 0, 0, time.UTC) }

// runBundle is the table of runs, and an owner of its own.
type runBundle struct {
	store.Runs
	t     *testing.T
	owner auth.Owner
}

func setupRuns(t *testing.T) *runBundle {
	t.Helper()
	db := dynamodb.NewFromConfig(mototest.Config(t))
	return &runBundle{
		store.Runs{Client: db, Table: mototest.Environment(t, "dispatch-schedule")["RUNS_TABLE"], Retention: 7 * 24 * time.Hour},
		t, auth.Owner{OrganizationID: uuid.NewString(), ProjectID: uuid.NewString()},
	}
}

// next is the run of an hour's event. It begins a second later.
func (b *runBundle) next(triggerID string, n int) run.Run {
	return run.Run{
		Key: run.Key{TriggerID: triggerID, Event: hour(n).Format(time.RFC3339)}, ContainerID: uuid.NewString(), Region: "fr-par",
		Owner: b.owner, Origin: run.Schedule, EventID: triggerID + "/" + hour(n).Format(time.RFC3339),
		ScheduledAt: hour(n), StartedAt: hour(n).Add(time.Second),
	}
}

// made makes a run that ends in a state after one attempt.
func (b *runBundle) made(triggerID string, n int, state run.State) run.Run {
	b.t.Helper()
	its := b.next(triggerID, n)
	if _, err := b.Claim(b.t.Context(), its, store.Claim{Holder: "h", Until: hour(n + 1)}); err != nil {
		b.t.Fatal(err)
	}
	if err := b.Record(b.t.Context(), its, "h", reportOf(its, state)); err != nil {
		b.t.Fatal(err)
	}
	return its
}

func reportOf(its run.Run, state run.State) store.Report {
	attempt := run.Attempt{StartedAt: its.StartedAt, Duration: time.Second, HTTPStatus: 200}
	if state != run.Succeeded {
		attempt.HTTPStatus, attempt.Reason, attempt.Error = 503, run.HTTPStatus, "the container answered 503"
	}
	return store.Report{State: state, Attempts: []run.Attempt{attempt}, Request: &run.Request{HTTPMethod: "POST", Headers: map[string]string{}}, At: its.StartedAt.Add(time.Second)}
}

func TestRuns_OneOfManyClaimsWins(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	its, won := b.next(uuid.NewString(), 8), atomic.Int64{}
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			_, err := b.Claim(t.Context(), its, store.Claim{Holder: fmt.Sprint(i), Until: hour(9)})
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, store.ErrClaimed) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 {
		t.Errorf("%d claims won", won.Load())
	}
}

// The table holds who may claim an event next, after each state of its run.
func TestRuns_AreClaimedAsTheirStateAllows(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	for _, test := range []struct {
		state       run.State
		holder      string
		afterLock   bool
		mayBeginNow bool
	}{
		{run.Running, "h", false, true}, {run.Running, "other", false, false}, {run.Running, "other", true, true},
		{run.Retrying, "h", false, true}, {run.Retrying, "other", false, false}, {run.Retrying, "other", true, true},
		{run.Succeeded, "h", true, false}, {run.Succeeded, "other", true, false},
		{run.Failed, "other", false, true},
	} {
		its := b.next(uuid.NewString(), 8)
		if test.state == run.Running {
			if _, err := b.Claim(t.Context(), its, store.Claim{Holder: "h", Until: hour(9)}); err != nil {
				t.Fatal(err)
			}
		} else {
			its = b.made(its.TriggerID, 8, test.state)
		}
		if test.afterLock {
			its.StartedAt = hour(10)
		}
		claims, err := b.Claim(t.Context(), its, store.Claim{Holder: test.holder, Until: hour(11)})
		if test.mayBeginNow && (err != nil || claims != 2) || !test.mayBeginNow && !errors.Is(err, store.ErrClaimed) {
			t.Errorf("%+v: got %d claims, %v", test, claims, err)
		}
	}
}

func TestRequeue_QueuesARunThatNobodyHolds(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	manual := b.next(uuid.NewString(), 8)
	manual.StartedAt = time.Time{}
	manual.Origin, manual.Request = run.Manual, &run.Request{HTTPMethod: "POST", HTTPPath: "/", Headers: map[string]string{"A": "b"}, Body: "x"}
	if err := b.Enqueue(t.Context(), manual, hour(8), hour(9)); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Get(t.Context(), manual.Key); err != nil || got.State != run.Queued || got.Origin != run.Manual || !reflect.DeepEqual(got.Request, manual.Request) || !got.StartedAt.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
	for what, test := range map[string]struct {
		its     run.Run
		now     time.Time
		queues  bool
		deleted bool
	}{
		"queued":                  {its: manual, now: hour(8)},
		"queued for too long":     {its: manual, now: hour(10), queues: true},
		"succeeded":               {its: b.made(uuid.NewString(), 8, run.Succeeded), now: hour(8), queues: true},
		"failed":                  {its: b.made(uuid.NewString(), 8, run.Failed), now: hour(8), queues: true},
		"retrying":                {its: b.made(uuid.NewString(), 8, run.Retrying), now: hour(8)},
		"retrying, and forgotten": {its: b.made(uuid.NewString(), 8, run.Retrying), now: hour(10), queues: true},
		"deleted":                 {its: b.made(uuid.NewString(), 8, run.Failed), now: hour(8), deleted: true},
		"not there":               {its: b.next(uuid.NewString(), 8), now: hour(8)},
	} {
		if test.deleted {
			if err := b.Delete(t.Context(), test.its.Key); err != nil {
				t.Fatal(err)
			}
		}
		err := b.Requeue(t.Context(), test.its.Key, test.now, test.now.Add(time.Hour))
		if test.queues && err != nil || !test.queues && !errors.Is(err, store.ErrClaimed) {
			t.Errorf("%s: got %v", what, err)
		}
		if !test.queues {
			continue
		}
		if got, err := b.Get(t.Context(), test.its.Key); err != nil || got.State != run.Queued || got.Message != "" || !got.TerminatedAt.IsZero() {
			t.Errorf("%s: got %+v, %v", what, got, err)
		}
		if err := b.Requeue(t.Context(), test.its.Key, test.now, test.now.Add(time.Hour)); !errors.Is(err, store.ErrClaimed) {
			t.Errorf("%s, twice: got %v", what, err)
		}
		test.its.StartedAt = test.now
		if _, err := b.Claim(t.Context(), test.its, store.Claim{Holder: "anybody", Until: test.now.Add(time.Hour)}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestRuns_ForgetTheFailureOfARunThatBeginsAgain(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	its := b.made(uuid.NewString(), 8, run.Failed)
	if failed, _, err := b.List(t.Context(), b.failures()); err != nil || len(failed) != 1 {
		t.Fatalf("got %v, %v", failed, err)
	}
	if _, err := b.Claim(t.Context(), its, store.Claim{Holder: "operator", Until: hour(9)}); err != nil {
		t.Fatal(err)
	}
	got, err := b.Get(t.Context(), its.Key)
	if err != nil || got.State != run.Running || got.Reason != "" || got.Message != "" || !got.TerminatedAt.IsZero() || got.Count != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	// The delivery that lost its claim must not overwrite the state.
	if err := b.Record(t.Context(), its, "h", reportOf(its, run.Failed)); err != nil {
		t.Error(err)
	}
	if err := b.Record(t.Context(), its, "operator", reportOf(its, run.Succeeded)); err != nil {
		t.Error(err)
	}
	got, err = b.Get(t.Context(), its.Key)
	if err != nil || got.State != run.Succeeded || got.Count != 2 || len(got.Attempts) != 2 || got.Attempts[0].HTTPStatus != 503 || got.Attempts[1].HTTPStatus != 200 {
		t.Errorf("got %+v, %v", got, err)
	}
	if failed, _, err := b.List(t.Context(), b.failures()); err != nil || len(failed) != 0 {
		t.Errorf("got %v, %v", failed, err)
	}
}

func TestGiveUp_LeavesARunThatHasEnded(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	for _, state := range []run.State{"", run.Retrying, run.Succeeded, run.Failed} {
		its := b.next(uuid.NewString(), 8)
		if state != "" {
			its = b.made(its.TriggerID, 8, state)
		}
		before, _ := b.Get(t.Context(), its.Key) // none, if the state is ""
		its.Message, its.TerminatedAt = "given up", hour(14)
		if err := b.GiveUp(t.Context(), its); err != nil {
			t.Fatal(err)
		}
		got, err := b.Get(t.Context(), its.Key)
		if err != nil {
			t.Fatal(err)
		}
		if state.Ended() {
			if got.State != state || got.Message != before.Message || !got.TerminatedAt.Equal(before.TerminatedAt) {
				t.Errorf("%s: became %+v", state, got)
			}
			continue
		}
		reason := run.HTTPStatus
		if state == "" {
			reason = run.NotStarted
		}
		if got.State != run.Failed || got.Reason != reason || got.Message != "given up" || !got.TerminatedAt.Equal(hour(14)) ||
			!got.ExpiresAt.Equal(hour(14).Add(run.FailedRetention)) || got.EventID != its.EventID || got.Owner != b.owner {
			t.Errorf("%s: got %+v", state, got)
		}
	}
}

func (b *runBundle) failures() run.Query {
	return run.Query{Region: "fr-par", OrganizationID: b.owner.OrganizationID, States: []run.State{run.Failed}, PageSize: 20}
}

// pages returns the hours of the runs on each page of a list.
func (b *runBundle) pages(q run.Query) (pages []string) {
	b.t.Helper()
	for {
		found, next, err := b.List(b.t.Context(), q)
		if err != nil {
			b.t.Fatal(err)
		}
		var hours []string
		for _, one := range found {
			hours = append(hours, fmt.Sprint(one.ScheduledAt.Hour()))
		}
		pages = append(pages, strings.Join(hours, " "))
		if next == nil {
			return pages
		}
		q.Position = *next
	}
}

func TestList_HasTheRunsOfATriggerNewestFirst(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	triggerID := uuid.NewString()
	for n, state := range []run.State{run.Succeeded, run.Failed, run.Succeeded, run.Retrying, run.Failed} {
		b.made(triggerID, n, state)
	}
	b.made(uuid.NewString(), 6, run.Failed)
	deleted := b.made(triggerID, 5, run.Failed)
	if err := b.Delete(t.Context(), deleted.Key); err != nil {
		t.Fatal(err)
	}
	query := run.Query{Region: "fr-par", OrganizationID: b.owner.OrganizationID, TriggerID: triggerID, PageSize: 20}
	at := func(n int) run.Key { return b.next(triggerID, n).Key }
	for what, test := range map[string]struct {
		change func(*run.Query)
		want   []string
	}{
		"all":                       {func(*run.Query) {}, []string{"4 3 2 1 0"}},
		"pages":                     {func(q *run.Query) { q.PageSize = 2 }, []string{"4 3", "2 1", "0"}},
		"failed":                    {func(q *run.Query) { q.States, q.PageSize = []run.State{run.Failed}, 1 }, []string{"4", "1", ""}},
		"from an hour":              {func(q *run.Query) { q.After = hour(3) }, []string{"4 3"}},
		"from after an hour":        {func(q *run.Query) { q.After = hour(3).Add(time.Millisecond) }, []string{"4"}},
		"before an hour":            {func(q *run.Query) { q.Before = hour(2) }, []string{"1 0"}},
		"before after an hour":      {func(q *run.Query) { q.Before = hour(2).Add(time.Millisecond) }, []string{"2 1 0"}},
		"an empty time":             {func(q *run.Query) { q.After, q.Before = hour(2), hour(2) }, []string{""}},
		"after a position before":   {func(q *run.Query) { q.After, q.Position = hour(2), at(0) }, []string{""}},
		"after a position beyond":   {func(q *run.Query) { q.Before, q.Position = hour(2), at(4) }, []string{"1 0"}},
		"failures after a position": {func(q *run.Query) { *q = b.failures(); q.Before, q.Position = hour(2), at(4) }, []string{"1"}},
		"within a second":           {func(q *run.Query) { q.After, q.Before = hour(2).Add(1), hour(2).Add(2) }, []string{""}},
		"of the project":            {func(q *run.Query) { q.ProjectIDs = []string{b.owner.ProjectID} }, []string{"4 3 2 1 0"}},
		"of another project":        {func(q *run.Query) { q.ProjectIDs, q.PageSize = []string{uuid.NewString()}, 1 }, []string{""}},
		"of another owner":          {func(q *run.Query) { q.OrganizationID, q.PageSize = uuid.NewString(), 1 }, []string{""}},
		"of another region":         {func(q *run.Query) { q.Region, q.PageSize = "nl-ams", 1 }, []string{""}},
		"of another container":      {func(q *run.Query) { q.ContainerID = uuid.NewString() }, []string{""}},
		"all failures":              {func(q *run.Query) { *q = b.failures() }, []string{"6 4 1"}},
		"pages of failures":         {func(q *run.Query) { *q = b.failures(); q.PageSize = 2 }, []string{"6 4", "1"}},
		"failures of a time":        {func(q *run.Query) { *q = b.failures(); q.After, q.Before = hour(2), hour(6) }, []string{"4"}},
		"failures of an owner":      {func(q *run.Query) { *q = b.failures(); q.OrganizationID = uuid.NewString() }, []string{""}},
		"failures of no project":    {func(q *run.Query) { *q = b.failures(); q.ProjectIDs = []string{uuid.NewString()} }, []string{""}},
	} {
		q := query
		test.change(&q)
		if got := b.pages(q); !slices.Equal(got, test.want) && !slices.Equal(append(got, ""), test.want) {
			t.Errorf("%s: got %q, want %q", what, got, test.want)
		}
	}
}

// The caller chooses the position of a page. It must not lead to the runs of others.
func TestList_ReadsNothingOfOthersAfterAnyPosition(t *testing.T) {
	t.Parallel()
	b, other := setupRuns(t), setupRuns(t)
	foreign := other.made(uuid.NewString(), 8, run.Failed)
	other.made(foreign.TriggerID, 7, run.Failed)
	mine := b.made(uuid.NewString(), 7, run.Failed)
	q := b.failures()
	q.Position = foreign.Key
	if found, _, err := b.List(t.Context(), q); err != nil || len(found) != 1 || found[0].Key != mine.Key {
		t.Errorf("got %v, %v", found, err)
	}
	q.TriggerID, q.Position, q.PageSize = foreign.TriggerID, run.Key{}, 1
	counter := &requestCounter{HTTPClient: mototest.Config(t).HTTPClient}
	cfg := mototest.Config(t)
	cfg.HTTPClient = counter
	b.Client = dynamodb.NewFromConfig(cfg)
	if found, next, err := b.List(t.Context(), q); err != nil || len(found) > 0 || next != nil || counter.requests.Load() != 1 {
		t.Errorf("got %v, %v, %v after %d requests", found, next, err, counter.requests.Load())
	}
}

// requestCounter counts requests to AWS.
type requestCounter struct {
	aws.HTTPClient
	requests atomic.Int64
}

func (c *requestCounter) Do(r *http.Request) (*http.Response, error) {
	c.requests.Add(1)
	return c.HTTPClient.Do(r)
}

func TestDelete_KeepsTheClaimOfTheEvent(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	its := b.made(uuid.NewString(), 8, run.Succeeded)
	if err := b.Delete(t.Context(), its.Key); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(t.Context(), its.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if err := b.Delete(t.Context(), its.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the second deletion: got %v", err)
	}
	its.StartedAt = hour(20)
	if _, err := b.Claim(t.Context(), its, store.Claim{Holder: "h", Until: hour(21)}); !errors.Is(err, store.ErrClaimed) {
		t.Errorf("the event is delivered again: %v", err)
	}
	running := b.next(uuid.NewString(), 8)
	if _, err := b.Claim(t.Context(), running, store.Claim{Holder: "h", Until: hour(9)}); err != nil {
		t.Fatal(err)
	}
	if told := apierr.From(b.Delete(t.Context(), running.Key)); told.Type != apierr.TypeTransientState {
		t.Errorf("a running run: got %v", told)
	}
}

// delivered records that a call for a message ended in a state.
func (b *runBundle) delivered(its run.Run, state run.State, existing bool) {
	b.t.Helper()
	if err := b.Delivered(b.t.Context(), its, reportOf(its, state), existing); err != nil {
		b.t.Fatal(err)
	}
}

func TestDelivered_FollowsAMessageThroughItsDeliveries(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	its := b.next(uuid.NewString(), 8)
	its.Origin = run.Message
	b.delivered(its, run.Succeeded, true)
	if _, err := b.Get(t.Context(), its.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a success without a failure is stored: %v", err)
	}
	for n, step := range []struct {
		state     run.State
		failures  int
		hasReason bool
	}{{run.Retrying, 0, true}, {run.Failed, 1, true}, {run.Retrying, 0, true}, {run.Failed, 1, true}, {run.Succeeded, 0, false}} {
		b.delivered(its, step.state, step.state == run.Succeeded)
		got, err := b.Get(t.Context(), its.Key)
		if err != nil || got.State != step.state || got.Count != n+1 || len(got.Attempts) != n+1 || got.TerminatedAt.IsZero() == step.state.Ended() || (got.Reason != "") != step.hasReason || got.Origin != run.Message {
			t.Errorf("step %d: got %+v, %v", n, got, err)
		}
		kept := 7 * 24 * time.Hour
		if step.state == run.Failed {
			kept = run.FailedRetention
		}
		if want := its.StartedAt.Add(time.Second + kept); !got.ExpiresAt.Equal(want) {
			t.Errorf("step %d: expires at %v, want %v", n, got.ExpiresAt, want)
		}
		if failed, _, err := b.List(t.Context(), b.failures()); err != nil || len(failed) != step.failures {
			t.Errorf("step %d: the failed runs are %v, %v", n, failed, err)
		}
	}
	b.delivered(its, run.Failed, false)
	if got, err := b.Get(t.Context(), its.Key); err != nil || got.State != run.Succeeded || got.Count != 5 {
		t.Errorf("a run that succeeded became %+v, %v", got, err)
	}
}

func TestDelivered_LeavesAReplayAndADeletedRun(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	its := b.next(uuid.NewString(), 8)
	b.delivered(its, run.Failed, false)
	if err := b.Requeue(t.Context(), its.Key, hour(8), hour(9)); err != nil {
		t.Fatal(err)
	}
	b.delivered(its, run.Retrying, false)
	if got, err := b.Get(t.Context(), its.Key); err != nil || got.State != run.Queued || got.Count != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	other := b.next(uuid.NewString(), 8)
	b.delivered(other, run.Failed, false)
	if err := b.Delete(t.Context(), other.Key); err != nil {
		t.Fatal(err)
	}
	b.delivered(other, run.Failed, false)
	if _, err := b.Get(t.Context(), other.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// A queue may deliver a message a thousand times. Its row must not grow with each.
func TestDelivered_KeepsTheLastAttempts(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	its := b.next(uuid.NewString(), 8)
	const deliveries = 75
	for n := range deliveries {
		report := reportOf(its, run.Retrying)
		report.Attempts[0].Duration = time.Duration(n) * time.Second
		if err := b.Delivered(t.Context(), its, report, false); err != nil {
			t.Fatal(err)
		}
	}
	item, err := b.Client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &b.Table, Key: map[string]types.AttributeValue{
		"trigger_id": &types.AttributeValueMemberS{Value: its.TriggerID}, "event": &types.AttributeValueMemberS{Value: its.Event},
	}})
	if err != nil {
		t.Fatal(err)
	}
	attempts, ok := item.Item["attempts"].(*types.AttributeValueMemberL)
	if !ok || len(attempts.Value) < run.MaxAttempts || len(attempts.Value) >= run.MaxAttempts+10 {
		t.Errorf("the row has %d attempts", len(attempts.Value))
	}
	got, err := b.Get(t.Context(), its.Key)
	if err != nil || got.Count != deliveries || len(got.Attempts) != run.MaxAttempts || got.Attempts[run.MaxAttempts-1].Duration != (deliveries-1)*time.Second {
		t.Errorf("got %d attempts of %d, %v", len(got.Attempts), got.Count, err)
	}
}

// The history of a trigger may leave runs out. Their claims stay.
func TestRecord_HidesARunAndKeepsItsClaim(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	its := b.next(uuid.NewString(), 8)
	if _, err := b.Claim(t.Context(), its, store.Claim{Holder: "h", Until: hour(9)}); err != nil {
		t.Fatal(err)
	}
	report := reportOf(its, run.Succeeded)
	report.Hidden = true
	if err := b.Record(t.Context(), its, "h", report); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(t.Context(), its.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	its.StartedAt = hour(10)
	if _, err := b.Claim(t.Context(), its, store.Claim{Holder: "other", Until: hour(11)}); !errors.Is(err, store.ErrClaimed) {
		t.Errorf("the event is delivered again: %v", err)
	}
}

func TestLast_ReturnsTheNewestRunThatIsNotDeleted(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	triggerID := uuid.NewString()
	if last, err := b.Last(t.Context(), triggerID); err != nil || last != nil {
		t.Errorf("got %v, %v", last, err)
	}
	for n := range 5 {
		b.made(triggerID, n, run.Succeeded)
	}
	for n := 4; n >= 0; n-- {
		last, err := b.Last(t.Context(), triggerID)
		if err != nil || last == nil || !last.ScheduledAt.Equal(hour(n)) {
			t.Fatalf("got %v, %v, want the run of hour %d", last, err, n)
		}
		if err := b.Delete(t.Context(), last.Key); err != nil {
			t.Fatal(err)
		}
	}
	if last, err := b.Last(t.Context(), triggerID); err != nil || last != nil {
		t.Errorf("got %v, %v", last, err)
	}
}
