package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/aws/aws-lambda-go/events"
	"golang.org/x/sync/errgroup"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

// handleNamespace marks the containers of a namespace for deletion if the namespace is
// being deleted. Once the namespace has no container, it removes the namespace.
func (f function) handleNamespace(ctx context.Context, record events.DynamoDBEventRecord) error {
	if !isDeleting(record) {
		return nil
	}
	current, err := store.NamespaceFromImage(record.Change.NewImage)
	if err != nil {
		return err
	}
	containers, err := f.containers.OfNamespace(ctx, current, 0)
	if err != nil {
		return err
	}
	left, err := markAll(ctx, containers, func(ctx context.Context, id string) error {
		_, err := f.containers.MarkDeleting(ctx, id)
		return err
	})
	if err != nil || left > 0 {
		return err
	}
	return f.namespaces.Remove(ctx, current)
}

// handleContainer marks the triggers of a container for deletion if the container is being
// deleted. Once the container has no trigger, it removes the container.
func (f function) handleContainer(ctx context.Context, record events.DynamoDBEventRecord) error {
	if !isDeleting(record) {
		return nil
	}
	current, err := store.ContainerFromImage(record.Change.NewImage)
	if err != nil {
		return err
	}
	triggers, err := f.triggers.OfContainer(ctx, current.ID, 0)
	if err != nil {
		return err
	}
	left, err := markAll(ctx, triggers, func(ctx context.Context, id string) error {
		_, err := f.triggers.MarkDeleting(ctx, id)
		return err
	})
	if err != nil || left > 0 {
		return err
	}
	if err := f.containers.Remove(ctx, current); err != nil {
		return err
	}
	return f.containerRemoved(ctx, current)
}

// isDeleting reports whether a record's row is being deleted.
func isDeleting(record events.DynamoDBEventRecord) bool {
	return record.Change.NewImage != nil && record.Change.NewImage["status"].String() == string(container.Deleting)
}

// markAll marks the children of a parent for deletion, and returns how many still exist.
// The removal of the last one makes the stream bring the parent again. If that is lost,
// sweep requeues the parent. The parent's record therefore need not come back, and holds up
// no other deletion.
func markAll(ctx context.Context, ids []string, mark func(context.Context, string) error) (left int, err error) {
	var (
		group  errgroup.Group
		exists atomic.Int64
	)
	group.SetLimit(atOnce)
	for _, id := range ids {
		group.Go(func() error {
			err := mark(ctx, id)
			if errors.Is(err, store.ErrNotFound) {
				return nil // the index still lists it
			}
			exists.Add(1)
			return err
		})
	}
	err = group.Wait()
	return int(exists.Load()), err
}

// someChildren is the number of children that are looked up to find out whether a parent
// still has any. The index that lists them may be that far behind.
const someChildren = 25

// triggerRemoved requeues the container of a removed trigger if the container is being
// deleted and has no other trigger.
func (f function) triggerRemoved(ctx context.Context, removed trigger.Trigger) error {
	ids, err := f.triggers.OfContainer(ctx, removed.ContainerID, someChildren)
	if err != nil {
		return err
	}
	some, err := anyExists(ids, func(id string) error {
		_, err := f.triggers.Get(ctx, id)
		return err
	})
	if err != nil || some {
		return err
	}
	return f.containers.Requeue(ctx, removed.ContainerID, f.now())
}

// containerRemoved requeues the namespace of a removed container if the namespace is being
// deleted and has no other container.
func (f function) containerRemoved(ctx context.Context, removed container.Container) error {
	if removed.NamespaceID == "" {
		return nil
	}
	ns, err := f.namespaces.Get(ctx, removed.NamespaceID)
	if errors.Is(err, store.ErrNotFound) || err == nil && ns.Status != container.Deleting {
		return nil
	}
	if err != nil {
		return err
	}
	ids, err := f.containers.OfNamespace(ctx, ns, someChildren)
	if err != nil {
		return err
	}
	some, err := anyExists(ids, func(id string) error {
		_, err := f.containers.Get(ctx, id)
		return err
	})
	if err != nil || some {
		return err
	}
	return f.namespaces.Requeue(ctx, ns.ID, f.now())
}

// anyExists reports whether one of the rows exists. The index that lists them lags.
func anyExists(ids []string, get func(id string) error) (bool, error) {
	for _, id := range ids {
		if err := get(id); !errors.Is(err, store.ErrNotFound) {
			return err == nil, err
		}
	}
	return false, nil
}
