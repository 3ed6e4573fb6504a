package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"containertriggers/infra/local/moto"
)

// mappingsPath is the path of event source mappings (API reference of
// CreateEventSourceMapping).
const mappingsPath = "/2015-03-31/event-source-mappings"

// mappings refuses mappings of queues as Lambda does (API reference of
// CreateEventSourceMapping; Lambda Developer Guide, "Using Lambda with Amazon SQS").
type mappings struct {
	lambda *lambda.Client
	queues *sqs.Client
	held   *held
}

func newMappings(endpoint string, held *held) mappings {
	cfg := moto.Config(endpoint)
	return mappings{lambda: lambda.NewFromConfig(cfg), queues: sqs.NewFromConfig(cfg), held: held}
}

type mappingRequest struct {
	EventSourceArn, FunctionName   string
	BatchSize                      int
	MaximumBatchingWindowInSeconds int
	ScalingConfig                  *struct{ MaximumConcurrency *int }
}

// reuse has a request to make a mapping take the hidden one of its source and
// function, if there is one.
func (m mappings) reuse(r *http.Request, body []byte) *http.Request {
	var request mappingRequest
	if r.Method != http.MethodPost || json.Unmarshal(body, &request) != nil {
		return r
	}
	found, err := m.same(r.Context(), request, true)
	if err != nil || found == "" {
		return r // the emulator says so itself
	}
	return r.WithContext(context.WithValue(r.Context(), again{}, found))
}

// same returns the UUID of the mapping of a source on a function, among those that
// are hidden or among the others; "" if there is none. A mapping that is being deleted
// counts as one of the others.
func (m mappings) same(ctx context.Context, request mappingRequest, hidden bool) (uuid string, err error) {
	if deleting := m.held.deletingOf(request.EventSourceArn, request.FunctionName); len(deleting) > 0 {
		if hidden {
			return "", nil
		}
		return fmt.Sprint(deleting[0]["UUID"]), nil
	}
	pages := lambda.NewListEventSourceMappingsPaginator(m.lambda, &lambda.ListEventSourceMappingsInput{EventSourceArn: &request.EventSourceArn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, mapping := range page.EventSourceMappings {
			if m.held.isHidden(aws.ToString(mapping.UUID)) == hidden && isFunction(aws.ToString(mapping.FunctionArn), request.FunctionName) {
				return aws.ToString(mapping.UUID), nil
			}
		}
	}
	return "", nil
}

// isFunction reports whether a function has that name or ARN.
func isFunction(arn, name string) bool { return arn == name || strings.HasSuffix(arn, ":"+name) }

// check returns Lambda's refusal of a request to create or change a mapping, or nil. It
// returns nil for sources other than queues.
func (m mappings) check(ctx context.Context, method, path string, body []byte) *refusal {
	var request mappingRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return invalid("the request is not JSON")
	}
	if method == http.MethodPut {
		current, err := m.lambda.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: aws.String(path[strings.LastIndex(path, "/")+1:])})
		if err != nil {
			return nil // the emulator says so itself
		}
		request.EventSourceArn = aws.ToString(current.EventSourceArn)
		if request.FunctionName == "" {
			request.FunctionName = aws.ToString(current.FunctionArn)
		}
	}
	source, err := arn.Parse(request.EventSourceArn)
	if err != nil || source.Service != "sqs" {
		return nil
	}
	fifo := strings.HasSuffix(source.Resource, ".fifo")
	switch {
	case fifo && request.BatchSize > 10:
		return invalid("Batch size greater than 10 is not supported for FIFO queues.")
	case fifo && request.MaximumBatchingWindowInSeconds > 0:
		return invalid("Batching window is not supported for FIFO queues.")
	case request.BatchSize > 10 && request.MaximumBatchingWindowInSeconds < 1:
		return invalid("Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")
	}
	if scaling := request.ScalingConfig; scaling != nil && scaling.MaximumConcurrency != nil {
		if n := *scaling.MaximumConcurrency; n < 2 || n > 1000 {
			return invalid("Value '" + strconv.Itoa(n) + "' at 'scalingConfig.maximumConcurrency' failed to satisfy constraint: between 2 and 1000")
		}
	}
	if problem := m.visibility(ctx, source.Resource, request.FunctionName); problem != nil || method == http.MethodPut {
		return problem
	}
	return m.twice(ctx, request)
}

// visibility refuses a queue if its messages could come back while the function still works
// on them.
func (m mappings) visibility(ctx context.Context, queue, function string) *refusal {
	described, err := m.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &function})
	if err != nil {
		return nil
	}
	found, err := m.queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &queue})
	if err != nil {
		return invalid("Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist.")
	}
	attributes, err := m.queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: found.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameVisibilityTimeout},
	})
	if err != nil {
		return nil
	}
	visibility, err := strconv.Atoi(attributes.Attributes[string(types.QueueAttributeNameVisibilityTimeout)])
	if timeout := int(aws.ToInt32(described.Timeout)); err == nil && visibility < timeout {
		return invalid(fmt.Sprintf("Queue visibility timeout: %d seconds is less than Function timeout: %d seconds", visibility, timeout))
	}
	return nil
}

// function returns the ARN of a mapping's function, or "" if there is no such mapping.
func (m mappings) function(uuid string) string {
	if deleting, ok := m.held.deleting(uuid); ok {
		return fmt.Sprint(deleting["FunctionArn"])
	}
	found, err := m.lambda.GetEventSourceMapping(context.Background(), &lambda.GetEventSourceMappingInput{UUID: &uuid})
	if err != nil {
		return "" // which no statement names
	}
	return aws.ToString(found.FunctionArn)
}

// twice refuses a second mapping for a pair of queue and function.
func (m mappings) twice(ctx context.Context, request mappingRequest) *refusal {
	uuid, err := m.same(ctx, request, false)
	if err != nil || uuid == "" {
		return nil // the emulator says so itself
	}
	return &refusal{http.StatusConflict, "ResourceConflictException", fmt.Sprintf(
		"An event source mapping with SQS arn (%q) and function (%q) already exists. Please update or delete the existing mapping with UUID %s",
		request.EventSourceArn, request.FunctionName, uuid)}
}

func invalid(message string) *refusal {
	return &refusal{http.StatusBadRequest, "InvalidParameterValueException", message}
}
