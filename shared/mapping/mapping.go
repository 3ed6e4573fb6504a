// Package mapping keeps the Lambda event source mappings of queues.
//
// Lambda allows one mapping for each pair of queue and function, and the functions
// are the deployment's own two; so a queue's mapping is found by its ARN, and
// making one twice is making it once.
package mapping

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"containertriggers/shared/awserr"
	"containertriggers/shared/queue"
)

// API is what Mappings needs of the Lambda client.
type API interface {
	lambda.ListEventSourceMappingsAPIClient
	CreateEventSourceMapping(context.Context, *lambda.CreateEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.CreateEventSourceMappingOutput, error)
	UpdateEventSourceMapping(context.Context, *lambda.UpdateEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.UpdateEventSourceMappingOutput, error)
	DeleteEventSourceMapping(context.Context, *lambda.DeleteEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.DeleteEventSourceMappingOutput, error)
}

// ErrPending says that Lambda is still at it; asking again later goes on.
var ErrPending = errors.New("the event source mapping is still changing")

// batchSize is how many messages a dispatcher gets at once. Of a standard queue it
// is the most that Lambda gives without waiting for more. Of a FIFO queue it is
// one: the messages of a group are delivered one after another anyway, and what
// was received behind one that fails would count that as a receive of its own,
// wait longer each time, and go to the dead-letter queue without having been
// tried. Lambda takes as many groups at once as the concurrency allows.
func batchSize(fifo bool) int32 {
	if fifo {
		return 1
	}
	return 10
}

// Mappings are the mappings of queues on the two dispatchers.
type Mappings struct {
	Client API
	// ShortARN and LongARN are the dispatchers that run for [queue.ShortRun] and
	// [queue.LongRun].
	ShortARN, LongARN string
	// Concurrency is how many batches of one queue are worked on at the same time,
	// 2 to 1,000.
	Concurrency int32
	// Patience is how long Put and Remove wait for Lambda before they answer
	// ErrPending; they look every Pause.
	Patience, Pause time.Duration
}

// Possible says whether a dispatcher suits the queue: its visibility timeout must
// be [queue.ShortRun] at least.
func Possible(q queue.Queue) bool { return q.VisibilityTimeout >= queue.ShortRun }

// function is the dispatcher that suits a queue best.
func (m Mappings) function(q queue.Queue) string {
	if q.VisibilityTimeout >= queue.LongRun {
		return m.LongARN
	}
	return m.ShortARN
}

// Put maps a queue on the dispatcher that suits it, and on no other, and returns
// when Lambda polls it. [ErrPending] where Lambda takes its time, a
// *[queue.Problem] where Lambda refuses.
func (m Mappings) Put(ctx context.Context, q queue.Queue) error {
	return m.until(ctx, func() (bool, error) { return m.step(ctx, q, m.function(q)) })
}

// Remove takes the queue from the dispatchers, and returns when Lambda does not
// poll it any more. [ErrPending] where that takes its time.
func (m Mappings) Remove(ctx context.Context, queueARN string) error {
	return m.until(ctx, func() (bool, error) {
		mappings, err := m.of(ctx, queueARN)
		if err != nil {
			return false, err
		}
		for _, mapping := range mappings {
			if err := m.delete(ctx, mapping); err != nil {
				return false, err
			}
		}
		return len(mappings) == 0, nil
	})
}

// until takes steps until one says that there is none to take.
func (m Mappings) until(ctx context.Context, step func() (done bool, err error)) error {
	for end := time.Now().Add(m.Patience); ; {
		done, err := step()
		if done || err != nil {
			return err
		}
		if time.Now().After(end) {
			return ErrPending
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(m.Pause):
		}
	}
}

// step brings a queue's mappings one step nearer to what they should be, and says
// whether they are.
func (m Mappings) step(ctx context.Context, q queue.Queue, function string) (done bool, err error) {
	mappings, err := m.of(ctx, q.ARN)
	if err != nil {
		return false, err
	}
	var current *types.EventSourceMappingConfiguration
	for i, mapping := range mappings {
		if sameFunction(mapping, function) {
			current = &mappings[i]
		} else if err := m.delete(ctx, mapping); err != nil {
			return false, err
		}
	}
	switch {
	case current == nil && len(mappings) > 0:
		return false, nil // the other function's goes first
	case current == nil:
		return false, m.create(ctx, q, function)
	}
	switch state := aws.ToString(current.State); state {
	case "Enabled":
		if m.asWanted(*current, q.FIFO) {
			return len(mappings) == 1, nil
		}
		return false, m.update(ctx, *current, q)
	case "Disabled":
		if reason := aws.ToString(current.StateTransitionReason); reason != "" && !strings.EqualFold(strings.ReplaceAll(reason, "_", " "), userInitiated) {
			return false, &queue.Problem{Message: "AWS Lambda has stopped reading the queue: " + reason}
		}
		return false, m.update(ctx, *current, q)
	case "Creating", "Enabling", "Updating", "Disabling", "Deleting":
		return false, nil
	default:
		return false, &queue.Problem{Message: "AWS Lambda cannot read the queue: " + state + ": " + aws.ToString(current.StateTransitionReason)}
	}
}

// userInitiated is the reason of a state that somebody asked for, which Lambda also
// writes as USER_INITIATED.
const userInitiated = "User initiated"

// asWanted says whether a mapping has the settings that it was made with.
func (m Mappings) asWanted(mapping types.EventSourceMappingConfiguration, fifo bool) bool {
	return aws.ToInt32(mapping.BatchSize) == batchSize(fifo) && aws.ToInt32(mapping.MaximumBatchingWindowInSeconds) == 0 &&
		mapping.ScalingConfig != nil && aws.ToInt32(mapping.ScalingConfig.MaximumConcurrency) == m.Concurrency &&
		slices.Equal(mapping.FunctionResponseTypes, responseTypes)
}

var responseTypes = []types.FunctionResponseType{types.FunctionResponseTypeReportBatchItemFailures}

func (m Mappings) create(ctx context.Context, q queue.Queue, function string) error {
	_, err := m.Client.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{
		EventSourceArn: &q.ARN, FunctionName: &function, Enabled: aws.Bool(true), BatchSize: aws.Int32(batchSize(q.FIFO)),
		FunctionResponseTypes: responseTypes, ScalingConfig: &types.ScalingConfig{MaximumConcurrency: &m.Concurrency},
	})
	if awserr.AlreadyExists(err) {
		return nil // an earlier try took effect; the next step sees it
	}
	return explain("mapping", q.ARN, err)
}

func (m Mappings) update(ctx context.Context, mapping types.EventSourceMappingConfiguration, q queue.Queue) error {
	_, err := m.Client.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{
		UUID: mapping.UUID, Enabled: aws.Bool(true), BatchSize: aws.Int32(batchSize(q.FIFO)), MaximumBatchingWindowInSeconds: aws.Int32(0),
		FunctionResponseTypes: responseTypes, ScalingConfig: &types.ScalingConfig{MaximumConcurrency: &m.Concurrency},
	})
	return explain("updating the mapping of", q.ARN, err)
}

func (m Mappings) delete(ctx context.Context, mapping types.EventSourceMappingConfiguration) error {
	if aws.ToString(mapping.State) == "Deleting" {
		return nil
	}
	_, err := m.Client.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: mapping.UUID})
	if awserr.NotFound(err) {
		return nil
	}
	return explain("deleting the mapping of", aws.ToString(mapping.EventSourceArn), err)
}

// explain lets what Lambda is busy with come again, and puts what it refuses into
// the owner's words.
func explain(doing, queueARN string, err error) error {
	_, busy := errors.AsType[*types.ResourceInUseException](err)
	switch {
	case err == nil, busy:
		return nil // the next step looks again
	case awserr.Transient(err):
		return fmt.Errorf("%s %s: %w", doing, queueARN, err)
	}
	if _, invalid := errors.AsType[*types.InvalidParameterValueException](err); invalid {
		return &queue.Problem{Message: "AWS Lambda refuses to read the queue: " + awserr.Reason(err)}
	}
	return fmt.Errorf("%s %s: %w", doing, queueARN, err)
}

// Mapped is a mapping of a queue on a dispatcher.
type Mapped struct {
	ID, QueueARN string
	// AsWanted says whether Lambda polls the queue, or soon will, with the settings
	// that Put gives.
	AsWanted bool
}

// All lists what is mapped on the two dispatchers. Lambda lists 100 at a time, and
// takes some 15 requests a second from an account.
func (m Mappings) All(ctx context.Context) ([]Mapped, error) {
	var all []Mapped
	for _, function := range []string{m.ShortARN, m.LongARN} {
		pages := lambda.NewListEventSourceMappingsPaginator(m.Client, &lambda.ListEventSourceMappingsInput{FunctionName: &function})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("listing the mappings on %s: %w", function, err)
			}
			for _, mapping := range page.EventSourceMappings {
				state := aws.ToString(mapping.State)
				arn := aws.ToString(mapping.EventSourceArn)
				all = append(all, Mapped{
					ID: aws.ToString(mapping.UUID), QueueARN: arn,
					AsWanted: slices.Contains([]string{"Enabled", "Creating", "Enabling", "Updating"}, state) &&
						m.asWanted(mapping, strings.HasSuffix(arn, ".fifo")),
				})
			}
		}
	}
	return all, nil
}

// Delete takes a single mapping away; one that is gone already is fine.
func (m Mappings) Delete(ctx context.Context, mapped Mapped) error {
	return m.delete(ctx, types.EventSourceMappingConfiguration{UUID: &mapped.ID, EventSourceArn: &mapped.QueueARN})
}

// of lists the queue's mappings on the two dispatchers. Others on the same queue
// are somebody else's.
func (m Mappings) of(ctx context.Context, queueARN string) ([]types.EventSourceMappingConfiguration, error) {
	var own []types.EventSourceMappingConfiguration
	pages := lambda.NewListEventSourceMappingsPaginator(m.Client, &lambda.ListEventSourceMappingsInput{EventSourceArn: &queueARN})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the mappings of %s: %w", queueARN, err)
		}
		for _, mapping := range page.EventSourceMappings {
			if sameFunction(mapping, m.ShortARN) || sameFunction(mapping, m.LongARN) {
				own = append(own, mapping)
			}
		}
	}
	return own, nil
}

func sameFunction(mapping types.EventSourceMappingConfiguration, function string) bool {
	return aws.ToString(mapping.FunctionArn) == function
}
