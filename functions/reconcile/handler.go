package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"golang.org/x/sync/errgroup"

	"containertriggers/shared/awserr"
	"containertriggers/shared/lifecycle"
	"containertriggers/shared/mapping"
	"containertriggers/shared/provision"
	"containertriggers/shared/queue"
	"containertriggers/shared/table"
	"containertriggers/shared/trigger"
)

// atOnce bounds how many rows of a batch are worked on at the same time.
const atOnce = 16

// provisioner makes one kind of source match its triggers. Both calls may be
// repeated, and completed after an interruption.
type provisioner interface {
	Apply(context.Context, trigger.Trigger) error
	Remove(context.Context, trigger.Trigger) error
}

// function makes the world match the rows of the Triggers and Containers tables.
// It is told of changes by the tables' streams, in order and at least once, but
// always goes by the row as it is now.
type function struct {
	triggers     table.Triggers
	containers   table.Containers
	provisioners map[trigger.Source]provisioner
	bus          lifecycle.Bus
	now          func() time.Time
}

func newFunction(sources provision.Sources, triggers table.Triggers, containers table.Containers, bus lifecycle.Bus, now func() time.Time) function {
	return function{
		triggers: triggers, containers: containers, bus: bus, now: now,
		provisioners: map[trigger.Source]provisioner{
			trigger.SourceCron: sources.Schedules, trigger.SourceSQS: sources.Queues, trigger.SourceNATS: sources.Relayed,
		},
	}
}

// handle works on a batch of stream records. What may succeed later goes back
// to the stream, which retries it with a growing delay.
func (f function) handle(ctx context.Context, batch events.DynamoDBEvent) (events.DynamoDBEventResponse, error) {
	var (
		group  errgroup.Group
		mu     sync.Mutex
		failed []events.DynamoDBBatchItemFailure
	)
	group.SetLimit(atOnce)
	for _, records := range byRow(batch.Records) {
		group.Go(func() error {
			for _, record := range records {
				if err := f.follow(ctx, record); err != nil {
					slog.WarnContext(ctx, "giving a record back to the stream", "id", id(record), "error", err)
					mu.Lock()
					defer mu.Unlock()
					failed = append(failed, events.DynamoDBBatchItemFailure{ItemIdentifier: record.Change.SequenceNumber})
					return nil // what comes after it for this row waits
				}
			}
			return nil
		})
	}
	// In statements of their own: what failed is known when all is done.
	err := group.Wait()
	return events.DynamoDBEventResponse{BatchItemFailures: failed}, err
}

// byRow groups records by the row they are about, in order.
func byRow(records []events.DynamoDBEventRecord) map[string][]events.DynamoDBEventRecord {
	rows := map[string][]events.DynamoDBEventRecord{}
	for _, record := range records {
		row := record.EventSourceArn + id(record)
		rows[row] = append(rows[row], record)
	}
	return rows
}

func id(record events.DynamoDBEventRecord) string {
	return record.Change.Keys["id"].String()
}

// follow works on one record. The error is one that may not come again.
func (f function) follow(ctx context.Context, record events.DynamoDBEventRecord) error {
	if streamOf(record, f.containers.Table) {
		return f.followContainer(ctx, record)
	}
	return f.followTrigger(ctx, record)
}

// streamOf says whether a record is from the table's stream, whose ARN is
// arn:aws:dynamodb:region:account:table/name/stream/label.
func streamOf(record events.DynamoDBEventRecord, tableName string) bool {
	return strings.Contains(record.EventSourceArn, ":table/"+tableName+"/")
}

func (f function) followTrigger(ctx context.Context, record events.DynamoDBEventRecord) error {
	if err := f.announce(ctx, record); err != nil {
		return err
	}
	if record.Change.NewImage == nil {
		return nil
	}
	image, err := table.TriggerFromImage(record.Change.NewImage)
	if err != nil {
		return err
	}
	if image.Settled() {
		return nil
	}
	current, err := f.triggers.Get(ctx, image.ID)
	if errors.Is(err, table.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.reconcile(ctx, current)
}

// reconcile makes the world match one row.
func (f function) reconcile(ctx context.Context, t trigger.Trigger) error {
	source := f.provisioners[t.Source()]
	switch {
	case t.Status == trigger.Deleting:
		if err := source.Remove(ctx, t); pending(err) {
			return f.leave(ctx, t, err)
		} else if err != nil {
			return err
		}
		return f.triggers.Remove(ctx, t.ID)
	case t.Settled():
		return nil
	}

	err := source.Apply(ctx, t)
	switch {
	case pending(err):
		return f.leave(ctx, t, err)
	case awserr.Transient(err):
		return err
	case err != nil:
		slog.WarnContext(ctx, "provisioning failed", "trigger_id", t.ID, "generation", t.Generation, "error", err)
	}
	if err := f.triggers.Settle(ctx, t, reason(err), f.now()); !errors.Is(err, table.ErrSuperseded) {
		return err
	}
	return nil // the newer generation has a record of its own
}

// pending says that it is not reconcile which waits for what comes next.
func pending(err error) bool {
	return errors.Is(err, mapping.ErrPending) || errors.Is(err, provision.ErrRelays)
}

// leave leaves a trigger as it is, in its transient status: what others take their
// time with would keep the stream waiting. The relay settles the row itself, and
// what AWS is at sweep opens again.
func (function) leave(ctx context.Context, t trigger.Trigger, err error) error {
	slog.InfoContext(ctx, "left for now", "trigger_id", t.ID, "generation", t.Generation, "reason", err)
	return nil
}

// reason is why a source could not be set up, in the user's words; "" where it
// was. What AWS refuses the service itself is its operator's to repair, and names
// what is none of the user's business.
func reason(err error) string {
	if problem, ok := errors.AsType[*queue.Problem](err); ok {
		return problem.Message
	}
	if err != nil {
		return "the source could not be set up: AWS refuses it to the service, whose log says why; its operator must repair that"
	}
	return ""
}

// announce puts the lifecycle event of a record, if it is one. Taking the events
// from the stream means that none is lost and none tells of what did not happen.
func (f function) announce(ctx context.Context, record events.DynamoDBEventRecord) error {
	before, after := record.Change.OldImage, record.Change.NewImage
	if after == nil {
		removed, err := table.TriggerFromImage(before)
		if err != nil {
			return err
		}
		return f.bus.Deleted(ctx, removed)
	}
	settled, err := table.TriggerFromImage(after)
	if err != nil {
		return err
	}
	if settled.Status.Transient() || before != nil && before["status"].String() == string(settled.Status) {
		return nil
	}
	return f.bus.StatusChanged(ctx, settled)
}

// followContainer deletes the triggers of a container that is being deleted, and
// then the container. While there are triggers the record goes back to the
// stream: the cascade goes on where it was, whatever happens to this run.
func (f function) followContainer(ctx context.Context, record events.DynamoDBEventRecord) error {
	if record.Change.NewImage == nil || record.Change.NewImage["status"].String() != string(trigger.Deleting) {
		return nil
	}
	container := id(record)
	triggers, err := f.triggers.OfContainer(ctx, container)
	if err != nil {
		return err
	}
	if len(triggers) == 0 {
		return f.containers.Remove(ctx, container)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, triggerID := range triggers {
		group.Go(func() error {
			_, err := f.triggers.MarkDeleting(groupCtx, triggerID)
			if errors.Is(err, table.ErrNotFound) {
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return fmt.Errorf("container %s still has %d triggers, which are being deleted", container, len(triggers))
}
