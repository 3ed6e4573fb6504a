package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/resource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/resolve"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/backoff"
)

// Pause returns the operation that pauses a trigger and answers it. No call begins after the
// answer: it comes when no dispatcher works any more with what it read before the pause.
func Pause(triggers store.Triggers, now func() time.Time) httpapi.Operation[trigger.Trigger] {
	handlers := resource.Handlers[trigger.Trigger]{Name: trigger.Resource, Store: triggers}
	operation := handlers.Apply(auth.Pause, func(_ context.Context, old trigger.Trigger, body []byte) (trigger.Trigger, error) {
		return old.Pause(body, now())
	})
	update := operation.Do
	operation.Do = func(ctx context.Context, caller auth.Principal, r httpapi.Request, found trigger.Trigger) (any, error) {
		answer, err := update(ctx, caller, r, found)
		if err != nil || found.Cron != nil { // dispatch-schedule reads the row for each occurrence
			return answer, err
		}
		// The first answer may be lost, so a request that is repeated at once waits too.
		if found.Paused() && now().Sub(found.PausedAt) > 2*resolve.TTL {
			return answer, nil
		}
		if err := backoff.Sleep(ctx, resolve.TTL); err != nil {
			return nil, fmt.Errorf("waiting for the dispatchers: %w", err)
		}
		return answer, nil
	}
	return operation
}

// Resume returns the operation that ends the pause of a trigger and answers the trigger. If
// the caller wants it, occurrences that the pause left out run, without a wait for their end.
// They are queued before the pause ends: if a resume fails before or between the two and is
// repeated, each runs once.
func (s CatchUp) Resume() httpapi.Operation[trigger.Trigger] {
	handlers := resource.Handlers[trigger.Trigger]{Name: trigger.Resource, Store: s.Triggers}
	return handlers.Apply(auth.Resume, func(ctx context.Context, old trigger.Trigger, body []byte) (trigger.Trigger, error) {
		now := s.Now()
		resumed, catchUp, err := old.Resume(body, now)
		if err != nil {
			return resumed, err
		}
		missed, err := old.Missed(catchUp, now)
		if err != nil {
			return resumed, err
		}
		return resumed, s.queue(ctx, missed)
	})
}

// CatchUp queues the runs of occurrences that a pause left out.
type CatchUp struct {
	Runs     store.Runs
	Triggers store.Triggers
	Client   SendAPI
	// QueueURL is the FIFO queue of dispatch-run. It makes the runs of one trigger one after
	// another, so that they flood neither the container nor the runs that callers wait for.
	QueueURL string
	Now      func() time.Time
}

// SendAPI is the part of the SQS client that CatchUp uses.
type SendAPI interface {
	SendMessageBatch(context.Context, *sqs.SendMessageBatchInput, ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error)
}

const (
	// queueingAtOnce is the number of runs that are stored at the same time.
	queueingAtOnce = 16
	// batchSize is the largest number of messages in one call of SQS.
	batchSize = 10
)

// queue queues the runs that neither an earlier resume nor the schedule has begun. A run that
// an earlier resume queued may not be in the queue. To send it twice does no harm, because
// dispatch-run claims it.
func (s CatchUp) queue(ctx context.Context, missed []run.Run) error {
	begin := make([]bool, len(missed))
	storing, storingCtx := errgroup.WithContext(ctx)
	storing.SetLimit(queueingAtOnce)
	for i, its := range missed {
		storing.Go(func() (err error) {
			begin[i], err = s.store(storingCtx, its)
			return err
		})
	}
	if err := storing.Wait(); err != nil {
		return err
	}
	var entries []types.SendMessageBatchRequestEntry
	for i, its := range missed {
		if !begin[i] {
			continue
		}
		start, err := json.Marshal(run.StartEvent{RunID: its.ID()})
		if err != nil {
			return fmt.Errorf("encoding the event of a run: %w", err)
		}
		entries = append(entries, types.SendMessageBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(string(start)),
			MessageGroupId: &missed[i].TriggerID, MessageDeduplicationId: aws.String(uuid.NewString()),
		})
	}
	for batch := range slices.Chunk(entries, batchSize) {
		answer, err := s.Client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &s.QueueURL, Entries: batch})
		if err != nil {
			return fmt.Errorf("queueing runs: %w", err)
		}
		if len(answer.Failed) > 0 {
			return fmt.Errorf("queueing runs: %s: %s", aws.ToString(answer.Failed[0].Code), aws.ToString(answer.Failed[0].Message))
		}
	}
	return nil
}

// store stores a queued run. It reports whether the run has not begun.
func (s CatchUp) store(ctx context.Context, its run.Run) (begin bool, err error) {
	now := s.Now()
	err = s.Runs.Enqueue(ctx, its, now, now.Add(queuedTime))
	if !errors.Is(err, store.ErrClaimed) {
		return err == nil, err
	}
	found, err := s.Runs.Get(ctx, its.Key)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil // somebody has deleted the run
	}
	return err == nil && found.Origin == run.CatchUp && found.State == run.Queued, err
}
