// Package eventsource creates, repairs and deletes Lambda's event source mappings of
// queues. A mapping makes Lambda poll a queue and invoke a dispatcher with its messages.
//
// Lambda allows one mapping for each pair of queue and function, so the package finds a
// queue's mapping by the queue's ARN, and all its changes are idempotent.
package eventsource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"containertriggers/shared/aws/queue"
	"containertriggers/shared/platform/awserr"
)

// API is the part of the Lambda client that [Mappings] uses.
type API interface {
	lambda.ListEventSourceMappingsAPIClient
	CreateEventSourceMapping(context.Context, *lambda.CreateEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.CreateEventSourceMappingOutput, error)
	UpdateEventSourceMapping(context.Context, *lambda.UpdateEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.UpdateEventSourceMappingOutput, error)
	DeleteEventSourceMapping(context.Context, *lambda.DeleteEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.DeleteEventSourceMappingOutput, error)
}

// ErrPending means that Lambda is busy with a change of the mapping, which may take a
// minute. A later call continues.
var ErrPending = errors.New("the event source mapping is still changing")

// batchSize returns the largest number of messages in one batch. It is 10 for standard
// queues, the most that Lambda allows without a batching window. It is 1 for FIFO queues,
// because messages behind a failed one in their group would count a receive without a
// call, and could reach the dead-letter queue that way. Different groups are still
// delivered at the same time.
func batchSize(fifo bool) int32 {
	if fifo {
		return 1
	}
	return 10
}

// Mappings manages the mappings of queues to the two dispatchers.
type Mappings struct {
	// Client is nil where no call to Lambda may be made. Apply and Remove then return
	// ErrPending.
	Client API
	// ShortARN and LongARN are the dispatchers that run for [queue.ShortRun] and
	// [queue.LongRun].
	ShortARN, LongARN string
	// Concurrency is the largest number of batches of one queue that are delivered at the
	// same time, from 2 to 1,000. If it is 0, Lambda scales by itself.
	Concurrency int32
	// Reserve is the reserved concurrency of each dispatcher, or 0 if it has none. Only
	// BeyondReserve uses it.
	Reserve int32
}

// Supports reports whether Lambda accepts a mapping of the queue. The queue's visibility
// timeout must be at least [queue.ShortRun], the timeout of the shorter dispatcher.
func Supports(q queue.Queue) bool { return q.VisibilityTimeout >= queue.ShortRun }

// dispatcher returns the ARN of the dispatcher with the longest timeout that the queue's
// visibility timeout allows.
func (m Mappings) dispatcher(q queue.Queue) string {
	if q.VisibilityTimeout >= queue.LongRun {
		return m.LongARN
	}
	return m.ShortARN
}

// Apply maps a queue to its dispatcher and removes its mapping to the other one. If enabled is
// false, Lambda does not poll the queue, which then needs no mapping. Apply does not wait for
// Lambda, which polls the queue up to a minute later, and returns the ID of the
// mapping. The caller passes the ID that the last call returned, or "" if there was none.
// Apply returns [ErrPending] if Lambda is busy with the mapping, and a *[queue.Problem] if
// Lambda refuses the queue or cannot read it.
func (m Mappings) Apply(ctx context.Context, q queue.Queue, known string, enabled bool) (id string, err error) {
	if m.Client == nil {
		return "", ErrPending
	}
	function := m.dispatcher(q)
	if known == "" && enabled {
		// Most queues have no mapping yet, so a list would only cost a call.
		if id, err := m.create(ctx, q, function); !awserr.AlreadyExists(err) {
			return id, explain("creating the mapping of", q.ARN, err)
		}
	}
	mappings, err := m.ofQueue(ctx, q.ARN)
	if err != nil {
		return "", err
	}
	var current *types.EventSourceMappingConfiguration
	for i, mapping := range mappings {
		if sameFunction(mapping, function) {
			current = &mappings[i]
		} else if err := m.delete(ctx, mapping); err != nil {
			return "", err
		}
	}
	if current == nil && !enabled {
		return "", nil
	}
	if current == nil {
		id, err := m.create(ctx, q, function)
		return id, explain("creating the mapping of", q.ARN, err)
	}
	return aws.ToString(current.UUID), m.correct(ctx, *current, q, enabled)
}

// correct starts the change that a mapping needs to read the queue with the settings that
// create makes, if any.
func (m Mappings) correct(ctx context.Context, mapping types.EventSourceMappingConfiguration, q queue.Queue, enabled bool) error {
	if foreign(mapping) {
		return pendingAfter(m.delete(ctx, mapping)) // a later call creates it anew
	}
	if reason := failure(mapping); reason != "" {
		unreadable := &queue.Problem{Message: "AWS Lambda cannot read the queue: " + reason}
		if aws.ToString(mapping.State) == "Enabled" {
			return unreadable // Lambda tries again by itself
		}
		// Lambda does not. It tries a mapping that is created anew, or refuses it with the cause.
		return errors.Join(m.delete(ctx, mapping), unreadable)
	}
	switch state := aws.ToString(mapping.State); {
	case state == "Deleting":
		return ErrPending
	case !enabled && slices.Contains(disabledStates, state):
		return nil // the settings do not matter until it is enabled
	case enabled && slices.Contains(enabledStates, state) && m.upToDate(mapping, q.FIFO):
		return nil
	}
	return m.update(ctx, mapping, q, enabled)
}

// The states of a mapping that polls its queue, or soon will, and of one that does not, or
// soon will not.
var (
	enabledStates  = []string{"Enabled", "Creating", "Enabling", "Updating"}
	disabledStates = []string{"Disabled", "Disabling"}
)

// pendingAfter returns the error of a step, or [ErrPending] if the step succeeded and
// another one must follow.
func pendingAfter(err error) error {
	if err != nil {
		return err
	}
	return ErrPending
}

// Remove deletes a queue's mappings. It does not wait for Lambda, which may poll the queue
// for up to another minute. The caller passes the mapping's ID if it knows it. Remove returns
// [ErrPending] if Lambda is busy with a mapping.
func (m Mappings) Remove(ctx context.Context, queueARN, known string) error {
	if m.Client == nil {
		return ErrPending
	}
	if known != "" {
		_, err := m.Client.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: &known})
		// IAM allows the call by the mapping's function, so it may refuse the call if the
		// mapping is gone.
		if !awserr.NotFound(err) && !awserr.Denied(err) {
			return explain("deleting the mapping of", queueARN, err)
		}
	}
	mappings, err := m.ofQueue(ctx, queueARN)
	if err != nil {
		return err
	}
	var failures []error
	for _, mapping := range mappings {
		failures = append(failures, m.delete(ctx, mapping))
	}
	return errors.Join(failures...)
}

// requested are the reasons of a state that follows from a request. Lambda also writes
// "USER_INITIATED".
var requested = []string{"user initiated", "user action"}

// The beginnings of a mapping's LastProcessingResult. A failed run of the dispatcher is not
// the queue's fault.
const (
	problem         = "PROBLEM: "
	functionProblem = problem + "Function"
)

// failure returns why Lambda does not read a mapped queue, or "" if it does or soon will.
// It may be that the queue was deleted, or that its policy or KMS key refuses Lambda.
func failure(mapping types.EventSourceMappingConfiguration) string {
	state, reason, result := aws.ToString(mapping.State), aws.ToString(mapping.StateTransitionReason), aws.ToString(mapping.LastProcessingResult)
	switch state {
	case "Enabled":
		if cause, ok := strings.CutPrefix(result, problem); ok && !strings.HasPrefix(result, functionProblem) {
			return cause
		}
		return ""
	case "Disabled":
		if reason == "" || slices.Contains(requested, strings.ToLower(strings.ReplaceAll(reason, "_", " "))) {
			return ""
		}
		return "Lambda stopped: " + reason
	case "Creating", "Enabling", "Updating", "Disabling", "Deleting":
		return ""
	}
	return state + ": " + reason
}

// foreign reports whether a mapping has a setting that create never makes and that
// changes the delivery of messages. An update cannot always clear such a setting. Lambda
// refuses a maximum concurrency together with provisioned pollers, and omits filters
// from its lists if a key encrypts them (Developer Guide, "Using Lambda with Amazon SQS";
// API Reference, "ListEventSourceMappings"). So correct replaces the mapping. The queue keeps
// its messages meanwhile.
func foreign(mapping types.EventSourceMappingConfiguration) bool {
	filters, pollers, destinations := mapping.FilterCriteria, mapping.ProvisionedPollerConfig, mapping.DestinationConfig
	return filters != nil && len(filters.Filters) > 0 || aws.ToString(mapping.KMSKeyArn) != "" ||
		pollers != nil && (pollers.MinimumPollers != nil || pollers.MaximumPollers != nil) ||
		destinations != nil && (destinations.OnFailure != nil && aws.ToString(destinations.OnFailure.Destination) != "" ||
			destinations.OnSuccess != nil && aws.ToString(destinations.OnSuccess.Destination) != "")
}

// upToDate reports whether a mapping has the settings that create makes.
func (m Mappings) upToDate(mapping types.EventSourceMappingConfiguration, fifo bool) bool {
	return !foreign(mapping) && aws.ToInt32(mapping.BatchSize) == batchSize(fifo) && aws.ToInt32(mapping.MaximumBatchingWindowInSeconds) == 0 &&
		maximumConcurrency(mapping.ScalingConfig) == m.Concurrency &&
		slices.Equal(mapping.FunctionResponseTypes, responseTypes)
}

var responseTypes = []types.FunctionResponseType{types.FunctionResponseTypeReportBatchItemFailures}

// maximumConcurrency returns the setting, or 0 if Lambda scales by itself.
func maximumConcurrency(scaling *types.ScalingConfig) int32 {
	if scaling == nil {
		return 0
	}
	return aws.ToInt32(scaling.MaximumConcurrency)
}

func (m Mappings) create(ctx context.Context, q queue.Queue, function string) (id string, err error) {
	input := &lambda.CreateEventSourceMappingInput{
		EventSourceArn: &q.ARN, FunctionName: &function, Enabled: aws.Bool(true), BatchSize: aws.Int32(batchSize(q.FIFO)),
		FunctionResponseTypes: responseTypes,
	}
	if m.Concurrency > 0 {
		input.ScalingConfig = &types.ScalingConfig{MaximumConcurrency: &m.Concurrency}
	}
	created, err := m.Client.CreateEventSourceMapping(ctx, input)
	if err != nil {
		return "", err
	}
	return aws.ToString(created.UUID), nil
}

func (m Mappings) update(ctx context.Context, mapping types.EventSourceMappingConfiguration, q queue.Queue, enabled bool) error {
	input := &lambda.UpdateEventSourceMappingInput{
		UUID: mapping.UUID, Enabled: &enabled, BatchSize: aws.Int32(batchSize(q.FIFO)), MaximumBatchingWindowInSeconds: aws.Int32(0),
		FunctionResponseTypes: responseTypes,
		ScalingConfig:         &types.ScalingConfig{}, // an empty one removes an earlier setting
	}
	if m.Concurrency > 0 {
		input.ScalingConfig.MaximumConcurrency = &m.Concurrency
	}
	_, err := m.Client.UpdateEventSourceMapping(ctx, input)
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

// explain returns [ErrPending] if Lambda is busy with the mapping, or if the mapping exists
// where it should be created. It returns a *[queue.Problem] if Lambda refuses the queue, and
// wraps any other error.
func explain(doing, queueARN string, err error) error {
	_, busy := errors.AsType[*types.ResourceInUseException](err)
	switch {
	case err == nil:
		return nil
	case busy, awserr.AlreadyExists(err):
		return ErrPending
	case awserr.Transient(err):
		return fmt.Errorf("%s %s: %w", doing, queueARN, err)
	}
	if _, invalid := errors.AsType[*types.InvalidParameterValueException](err); invalid {
		return &queue.Problem{Message: "AWS Lambda refuses to read the queue: " + awserr.Reason(err)}
	}
	return fmt.Errorf("%s %s: %w", doing, queueARN, err)
}

// Mapping is a mapping of a queue to a dispatcher.
type Mapping struct {
	ID, QueueARN, FunctionARN string
	// UpToDate is true if Lambda polls the queue, or soon will, with the settings that
	// Apply makes, and can read it.
	UpToDate bool
	// Disabled is true if Lambda does not poll the queue, or soon will not.
	Disabled bool
}

// All returns the mappings of all queues, except those that are being deleted. Lambda
// returns 100 mappings at a time.
func (m Mappings) All(ctx context.Context) ([]Mapping, error) {
	var all []Mapping
	for _, function := range []string{m.ShortARN, m.LongARN} {
		pages := lambda.NewListEventSourceMappingsPaginator(m.Client, &lambda.ListEventSourceMappingsInput{FunctionName: &function})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("listing the mappings on %s: %w", function, err)
			}
			for _, mapping := range page.EventSourceMappings {
				state, arn := aws.ToString(mapping.State), aws.ToString(mapping.EventSourceArn)
				if state == "Deleting" {
					continue
				}
				all = append(all, Mapping{
					ID: aws.ToString(mapping.UUID), QueueARN: arn, FunctionARN: function,
					Disabled: slices.Contains(disabledStates, state),
					UpToDate: slices.Contains(enabledStates, state) && failure(mapping) == "" && m.upToDate(mapping, strings.HasSuffix(arn, ".fifo")),
				})
			}
		}
	}
	return all, nil
}

// BeyondReserve returns by how many runs all mappings together may exceed the reserved
// concurrency of their dispatchers. Lambda throttles the batches of such runs. Their messages
// come back with their receive counted, so a dead-letter queue may get a message that was
// never tried (Lambda Developer Guide, "Configuring scaling behavior for SQS event source
// mappings").
func (m Mappings) BeyondReserve(all []Mapping) (runs int) {
	if m.Reserve == 0 {
		return 0
	}
	wanted := map[string]int{}
	for _, mapping := range all {
		wanted[mapping.FunctionARN] += int(m.Concurrency)
	}
	for _, of := range wanted {
		runs += max(of-int(m.Reserve), 0)
	}
	return runs
}

// Delete deletes one mapping. It does nothing if the mapping does not exist, and returns
// [ErrPending] if Lambda is busy with it.
func (m Mappings) Delete(ctx context.Context, mapping Mapping) error {
	return m.delete(ctx, types.EventSourceMappingConfiguration{UUID: &mapping.ID, EventSourceArn: &mapping.QueueARN})
}

// ofQueue returns the queue's mappings to the two dispatchers. Mappings to other
// functions are not the deployment's.
func (m Mappings) ofQueue(ctx context.Context, queueARN string) ([]types.EventSourceMappingConfiguration, error) {
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
