package main

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/namespace"
	"containertriggers/shared/domain/trigger"
)

func TestFollowContainer_DeletesItsTriggersFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := []string{b.create(union).ID, b.create(`"cron_config":{"schedule":"@daily"}`).ID}
	for _, id := range ids {
		b.handleRow(id)
	}
	if _, err := b.containers.MarkDeleting(t.Context(), b.container.ID); err != nil {
		t.Fatal(err)
	}
	deleting := b.record(b.container.ID, nil, b.image(b.containers.Table, b.container.ID))
	deleting.EventSourceArn = "arn:aws:dynamodb:us-east-1:123456789012:table/" + b.containers.Table + "/stream/2026"
	if b.handleRecords(deleting) != 0 {
		t.Error("the container's record was given back, and holds up the stream")
	}
	requeued := func() bool {
		image := b.image(b.containers.Table, b.container.ID)
		again := image["reopened_at"].String() != deleting.Change.NewImage["reopened_at"].String()
		deleting.Change.NewImage = image
		return again
	}
	for i, id := range ids {
		if got := b.get(id).Status; got != trigger.Deleting {
			t.Errorf("got status %s", got)
		}
		image := b.image(b.triggers.Table, id)
		b.handleRow(id)
		b.expect(id, "no row")
		b.handleRecords(b.record(id, image, nil))
		if last := i == len(ids)-1; requeued() != last {
			t.Errorf("trigger %d of %d: the container was requeued: %t", i+1, len(ids), !last)
		}
	}
	if b.handleRecords(deleting) != 0 {
		t.Error("the container's record was given back without triggers")
	}
	if _, err := b.containers.Get(t.Context(), b.container.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// deleting returns the stream record of the row as it is now.
func (b *testBundle) deleting(tableName, id string) events.DynamoDBEventRecord {
	b.t.Helper()
	record := b.record(id, nil, b.image(tableName, id))
	record.EventSourceArn = "arn:aws:dynamodb:us-east-1:123456789012:table/" + tableName + "/stream/2026"
	return record
}

// populate creates a namespace with two containers, and one container beside it
// under the same owner.
func (b *testBundle) populate() (ns namespace.Namespace, inside []string, beside string) {
	b.t.Helper()
	ns, inside = b.populateWith(2)
	// Its namespace_id is one that no row has, as that of a container from before
	// there were namespaces.
	ct := container.Container{
		ID: uuid.NewString(), Region: "fr-par", Owner: ns.Owner, Status: container.Ready, Tags: []string{}, Generation: 1,
	}
	ct.NamespaceID = uuid.NewString()
	if err := b.containers.Create(b.t.Context(), ct); err != nil {
		b.t.Fatal(err)
	}
	return ns, inside, ct.ID
}

// populateWith creates a namespace with that many containers, and marks it for deletion.
func (b *testBundle) populateWith(containers int) (ns namespace.Namespace, inside []string) {
	b.t.Helper()
	ns, _, err := namespace.Create([]byte(`{"name":"n"}`), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	ns.Owner = auth.Owner{OrganizationID: uuid.NewString(), ProjectID: uuid.NewString()}
	if err := b.namespaces.Create(b.t.Context(), ns); err != nil {
		b.t.Fatal(err)
	}
	ct := container.Container{Region: "fr-par", Owner: ns.Owner, Status: container.Ready, Tags: []string{}, Generation: 1}
	for range containers {
		ct.ID, ct.NamespaceID = uuid.NewString(), ns.ID
		if err := b.containers.CreateIn(b.t.Context(), b.namespaces, ct); err != nil {
			b.t.Fatal(err)
		}
		inside = append(inside, ct.ID)
	}
	if _, err := b.namespaces.MarkDeleting(b.t.Context(), ns.ID); err != nil {
		b.t.Fatal(err)
	}
	return ns, inside
}

// gone reports whether a read found nothing.
func (b *testBundle) gone(err error) bool {
	b.t.Helper()
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		b.t.Fatal(err)
	}
	return err != nil
}

func TestFollowNamespace_DeletesItsContainersFirstAndNoOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ns, inside, beside := b.populate()
	deleting := b.deleting(b.namespaces.Table, ns.ID)
	if b.handleRecords(deleting) != 0 {
		t.Error("the namespace's record was given back, and holds up the stream")
	}
	requeued := func() bool {
		again := b.deleting(b.namespaces.Table, ns.ID)
		defer func() { deleting = again }()
		return again.Change.NewImage["reopened_at"].String() != deleting.Change.NewImage["reopened_at"].String()
	}
	for i, id := range inside {
		found, err := b.containers.Get(t.Context(), id)
		if err != nil || found.Status != container.Deleting {
			t.Errorf("a container: got %s, %v", found.Status, err)
		}
		if b.handleRecords(b.deleting(b.containers.Table, id)) != 0 {
			t.Error("a container without triggers was given back")
		}
		if _, err := b.namespaces.Get(t.Context(), ns.ID); b.gone(err) {
			t.Errorf("the namespace went before its container %d", i+1)
		}
		if last := i == len(inside)-1; requeued() != last {
			t.Errorf("container %d of %d: the namespace was requeued: %t", i+1, len(inside), !last)
		}
	}
	if b.handleRecords(deleting, deleting) != 0 {
		t.Error("the namespace's record was given back without containers")
	}
	if _, err := b.namespaces.Get(t.Context(), ns.ID); !b.gone(err) {
		t.Error("the namespace is still there")
	}
	if found, err := b.containers.Get(t.Context(), beside); err != nil || found.Status != container.Ready {
		t.Errorf("the container beside it: got %s, %v", found.Status, err)
	}
	if left, err := b.containers.OfNamespace(t.Context(), ns, 0); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestFollowNamespace_ConvergesIfKilledAtAnyCall(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			ns, inside, _ := b.populate()
			client := &breaking{at: at, after: after}
			cfg := mototest.Config(t)
			cfg.HTTPClient = client
			cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
			broken := newBundle(t, cfg)
			deleting := b.deleting(b.namespaces.Table, ns.ID)
			broken.handleRecords(deleting)
			for _, id := range inside {
				broken.handleRecords(b.deleting(b.containers.Table, id))
			}
			broken.handleRecords(deleting)
			// The stream brings back what failed. Sweep brings the namespace back if its last
			// container went without that.
			for range streamTries {
				b.handleRecords(deleting)
				for _, id := range inside {
					if image := b.image(b.containers.Table, id); image != nil {
						b.handleRecords(b.deleting(b.containers.Table, id))
					}
				}
				if _, err := b.namespaces.Get(t.Context(), ns.ID); b.gone(err) {
					break
				}
			}
			if _, err := b.namespaces.Get(t.Context(), ns.ID); !b.gone(err) {
				t.Errorf("call %d (after: %t): the namespace is still there", at, after)
			}
			for _, id := range inside {
				if _, err := b.containers.Get(t.Context(), id); !b.gone(err) {
					t.Errorf("call %d (after: %t): a container is still there", at, after)
				}
			}
			if client.count < at {
				t.Logf("broke %d calls", at-1)
				if at < 6 {
					t.Errorf("only %d calls were broken", at-1)
				}
				break
			}
		}
	}
}
