package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"golang.org/x/sync/errgroup"

	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/lifecycle"
	"containertriggers/shared/aws/queue"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/cron"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/awserr"
	"containertriggers/shared/source"
)

// atOnce is the largest number of rows of a batch that are reconciled at the same time.
const atOnce = 16

// reconciler makes one kind of source match its triggers. Both methods are idempotent
// and complete an earlier call that was interrupted.
type reconciler interface {
	Apply(context.Context, trigger.Trigger) error
	Remove(context.Context, trigger.Trigger) error
}

// function makes sources match the rows of the Triggers, Containers and Namespaces
// tables. The tables' streams deliver each change at least once and in order. function
// always reads the current row, not the one in the record.
type function struct {
	triggers    store.Triggers
	containers  store.Containers
	namespaces  store.Namespaces
	reconcilers map[trigger.Source]reconciler
	// queues may change event source mappings. The reconcilers of stream records may not.
	queues  source.Queues
	changes changes
	bus     lifecycle.Bus
	now     func() time.Time
}

func newFunction(sources source.Sources, triggers store.Triggers, containers store.Containers, namespaces store.Namespaces, bus lifecycle.Bus, changes changes, now func() time.Time) function {
	unmapping := sources.Queues
	unmapping.Mappings.Client = nil
	return function{
		triggers: triggers, containers: containers, namespaces: namespaces, bus: bus, now: now,
		reconcilers: map[trigger.Source]reconciler{
			trigger.SourceCron: sources.Schedules, trigger.SourceSQS: unmapping, trigger.SourceNATS: sources.Relay,
		},
		queues: sources.Queues, changes: changes,
	}
}

// handle reconciles a batch of stream records, or a batch of messages about mappings.
func (f function) handle(ctx context.Context, event json.RawMessage) (any, error) {
	var batch struct {
		Records []struct {
			EventSource string `json:"eventSource"`
		}
	}
	if err := json.Unmarshal(event, &batch); err != nil {
		return nil, fmt.Errorf("reading an event: %w", err)
	}
	if len(batch.Records) > 0 && batch.Records[0].EventSource == "aws:sqs" {
		var messages events.SQSEvent
		if err := json.Unmarshal(event, &messages); err != nil {
			return nil, fmt.Errorf("reading messages: %w", err)
		}
		return f.handleMessages(ctx, messages), nil
	}
	var records events.DynamoDBEvent
	if err := json.Unmarshal(event, &records); err != nil {
		return nil, fmt.Errorf("reading stream records: %w", err)
	}
	return f.handleRecords(ctx, records)
}

// handleRecords reconciles a batch of stream records. It returns the records that failed and
// may succeed later. The stream delivers these again, after a growing delay.
func (f function) handleRecords(ctx context.Context, batch events.DynamoDBEvent) (events.DynamoDBEventResponse, error) {
	var (
		group  errgroup.Group
		mu     sync.Mutex
		failed []events.DynamoDBBatchItemFailure
	)
	group.SetLimit(atOnce)
	for _, records := range byRow(batch.Records) {
		group.Go(func() error {
			for _, record := range records {
				if err := f.handleRecord(ctx, record); err != nil {
					slog.WarnContext(ctx, "the stream retries a record", "id", id(record), "error", err)
					mu.Lock()
					defer mu.Unlock()
					failed = append(failed, events.DynamoDBBatchItemFailure{ItemIdentifier: record.Change.SequenceNumber})
					return nil // the row's later records wait for this one
				}
			}
			return nil
		})
	}
	// The failures are complete only after Wait, so it needs a statement of its own.
	err := group.Wait()
	return events.DynamoDBEventResponse{BatchItemFailures: failed}, err
}

// byRow groups records by their row, in order.
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

// handleRecord reconciles the row of one record. It returns an error if a retry may help.
func (f function) handleRecord(ctx context.Context, record events.DynamoDBEventRecord) error {
	switch {
	case streamOf(record, f.namespaces.Table):
		return f.handleNamespace(ctx, record)
	case streamOf(record, f.containers.Table):
		return f.handleContainer(ctx, record)
	default:
		return f.handleTrigger(ctx, record)
	}
}

// streamOf reports whether a record is from the table's stream. A stream's ARN has the form
// arn:aws:dynamodb:region:account:table/name/stream/label.
func streamOf(record events.DynamoDBEventRecord, tableName string) bool {
	return strings.Contains(record.EventSourceArn, ":table/"+tableName+"/")
}

// handleTrigger announces a trigger's status, and reconciles the trigger if its source does
// not match it.
func (f function) handleTrigger(ctx context.Context, record events.DynamoDBEventRecord) error {
	if err := f.announce(ctx, record); err != nil {
		return err
	}
	if record.Change.NewImage == nil {
		removed, err := store.TriggerFromImage(record.Change.OldImage)
		if err != nil {
			return err
		}
		return f.triggerRemoved(ctx, removed)
	}
	image, err := store.TriggerFromImage(record.Change.NewImage)
	if err != nil {
		return err
	}
	if image.Settled() {
		return nil
	}
	current, err := f.triggers.Get(ctx, image.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	err = f.reconcile(ctx, current, f.reconcilers[current.Source()])
	switch {
	case errors.Is(err, eventsource.ErrPending):
		return f.changes.send(ctx, current.ID)
	case errors.Is(err, source.ErrHandedOver):
		logPending(ctx, current, err)
		return nil
	}
	return err
}

// reconcile makes a trigger's source match its row, and records the result in the row. If
// the trigger is being deleted, it removes the source and the row. It returns
// eventsource.ErrPending if a mapping must be changed and cannot be changed now, and
// source.ErrHandedOver if the relay sets the status.
func (f function) reconcile(ctx context.Context, t trigger.Trigger, r reconciler) error {
	switch {
	case t.Status == trigger.Deleting:
		if err := r.Remove(ctx, t); err != nil {
			return err
		}
		return f.triggers.Remove(ctx, t)
	case t.Settled():
		return nil
	}

	err := r.Apply(ctx, t)
	switch {
	case errors.Is(err, eventsource.ErrPending), errors.Is(err, source.ErrHandedOver), awserr.Transient(err):
		return err
	case err != nil:
		slog.WarnContext(ctx, "setting up the source failed", "trigger_id", t.ID, "generation", t.Generation, "error", err)
	}
	if err := f.triggers.MarkObserved(ctx, t, reason(err), f.now()); !errors.Is(err, store.ErrSuperseded) {
		return err
	}
	return nil // the newer generation has a record of its own
}

// logPending logs that a trigger keeps its transient status. Waiting for the source here
// would block the stream.
func logPending(ctx context.Context, t trigger.Trigger, err error) {
	slog.InfoContext(ctx, "the trigger keeps its status for now", "trigger_id", t.ID, "status", t.Status, "generation", t.Generation, "reason", err)
}

// reason returns the error message of a source that could not be set up, or "" if err is
// nil. If AWS refuses a request of the service, the message gives no details of the
// deployment, because only the operator can repair the cause.
func reason(err error) string {
	if problem, ok := errors.AsType[*queue.Problem](err); ok {
		return problem.Message
	}
	if problem, ok := errors.AsType[*cron.Error](err); ok {
		return "cron_config is not valid: " + problem.Error()
	}
	if err != nil {
		return "the source could not be set up because of a service configuration error; contact the operator"
	}
	return ""
}

// announce sends a lifecycle event if a record changes the trigger's status, begins or ends its
// pause, deletes the trigger, or is a change through the API. Because the records cause these
// events, none of these changes is missed, and other changes send none.
func (f function) announce(ctx context.Context, record events.DynamoDBEventRecord) error {
	before, after := record.Change.OldImage, record.Change.NewImage
	if after == nil {
		removed, err := store.TriggerFromImage(before)
		if err != nil {
			return err
		}
		return f.bus.Deleted(ctx, removed)
	}
	changed, err := store.TriggerFromImage(after)
	if err != nil {
		return err
	}
	earlier, err := store.TriggerFromImage(before) // of a row that is new: the zero trigger
	if err != nil {
		return err
	}
	if !changed.Status.Transient() && changed.Status != earlier.Status {
		if err := f.bus.StatusChanged(ctx, changed); err != nil {
			return err
		}
	}
	if changed.LastChange != earlier.LastChange {
		if err := f.bus.Changed(ctx, changed); err != nil {
			return err
		}
	}
	if changed.Paused() != earlier.Paused() {
		return f.bus.PauseChanged(ctx, changed)
	}
	return nil
}
