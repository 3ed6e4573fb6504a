package mapping

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// lookEvery is how often the poller asks which mappings there are.
const lookEvery = time.Second

// polled holds the states in which Lambda polls the source of a mapping. The last three are
// those of changes that have not taken effect yet.
var polled = []string{"Enabled", "Updating", "Disabling", "Deleting"}

// Poller polls all event source mappings that are enabled: those of table streams
// and of queues.
type Poller struct {
	Lambda  *lambda.Client
	Streams *dynamodbstreams.Client
	Queues  *sqs.Client
	// Invoke runs a function, named by its ARN, and waits for its answer.
	Invoke func(ctx context.Context, function string, payload []byte) ([]byte, error)
	// Serves reports whether the poller serves the mappings of a function, named by its ARN.
	// If it is nil, the poller serves all of them.
	Serves func(function string) bool
	// Polls reports whether Lambda still polls the source of a mapping. It is asked for each
	// batch of a queue, because the list of mappings is up to lookEvery old. If it is nil, the
	// list alone counts.
	Polls func(uuid string) bool
	// Report takes the LastProcessingResult of a queue's mapping; it may be nil.
	Report func(uuid, result string)
	// DeadLetter puts a record that failed for good into a queue, named by its ARN.
	DeadLetter func(ctx context.Context, arn, payload string) error
}

// Run polls until ctx ends, and returns when nothing is under way any more.
func (p Poller) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	running := map[string]context.CancelFunc{}
	for ctx.Err() == nil {
		mappings, err := p.list(ctx)
		if err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "listing event source mappings failed", "error", err)
		}
		for id, mapping := range mappings {
			if _, ok := running[id]; ok {
				continue
			}
			pollCtx, cancel := context.WithCancel(ctx)
			running[id] = cancel
			work.Go(func() {
				if strings.Contains(aws.ToString(mapping.EventSourceArn), ":sqs:") {
					queue{client: p.Queues, mapping: mapping, invoke: p.Invoke, reported: p.Report, polls: p.Polls}.run(ctx, pollCtx)
				} else {
					stream{client: p.Streams, mapping: mapping, invoke: p.Invoke, deadLetter: p.DeadLetter}.run(pollCtx)
				}
			})
		}
		for id, cancel := range running {
			if _, ok := mappings[id]; !ok && err == nil {
				cancel()
				delete(running, id)
			}
		}
		pause(ctx, lookEvery)
	}
	for _, cancel := range running {
		cancel()
	}
}

// list gives the enabled mappings by their ID.
func (p Poller) list(ctx context.Context) (map[string]lambdatypes.EventSourceMappingConfiguration, error) {
	enabled := map[string]lambdatypes.EventSourceMappingConfiguration{}
	pages := lambda.NewListEventSourceMappingsPaginator(p.Lambda, &lambda.ListEventSourceMappingsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, mapping := range page.EventSourceMappings {
			if slices.Contains(polled, aws.ToString(mapping.State)) && (p.Serves == nil || p.Serves(aws.ToString(mapping.FunctionArn))) {
				enabled[aws.ToString(mapping.UUID)] = mapping
			}
		}
	}
	return enabled, nil
}
