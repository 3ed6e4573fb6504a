package eventsource

import (
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// asAWSAnswers is what Lambda lists of a standard queue's mapping that create made,
// with the fields that it fills in, and the empty ones that it answers for settings
// that were taken away.
func (m Mappings) asAWSAnswers() types.EventSourceMappingConfiguration {
	return types.EventSourceMappingConfiguration{
		UUID: aws.String("id"), EventSourceArn: aws.String("queue"), FunctionArn: aws.String("function"), EventSourceMappingArn: aws.String("arn"),
		BatchSize: aws.Int32(10), MaximumBatchingWindowInSeconds: aws.Int32(0), LastModified: aws.Time(time.Now()),
		State: aws.String("Enabled"), StateTransitionReason: aws.String("USER_INITIATED"),
		FunctionResponseTypes:   []types.FunctionResponseType{types.FunctionResponseTypeReportBatchItemFailures},
		ScalingConfig:           &types.ScalingConfig{MaximumConcurrency: aws.Int32(m.Concurrency)},
		FilterCriteria:          &types.FilterCriteria{},
		ProvisionedPollerConfig: &types.ProvisionedPollerConfig{},
		DestinationConfig:       &types.DestinationConfig{OnFailure: &types.OnFailure{}},
	}
}

func TestUpToDate_ComparesEveryField(t *testing.T) {
	t.Parallel()
	m := Mappings{Concurrency: 20}
	if !m.upToDate(m.asAWSAnswers(), false) {
		t.Error("an unchanged mapping is not up to date")
	}
	one, other := aws.Int32(1), aws.String("other")
	changes := map[string][]func(*types.EventSourceMappingConfiguration){
		"BatchSize":                      {func(c *types.EventSourceMappingConfiguration) { c.BatchSize = one }},
		"MaximumBatchingWindowInSeconds": {func(c *types.EventSourceMappingConfiguration) { c.MaximumBatchingWindowInSeconds = one }},
		"FunctionResponseTypes":          {func(c *types.EventSourceMappingConfiguration) { c.FunctionResponseTypes = nil }},
		"KMSKeyArn":                      {func(c *types.EventSourceMappingConfiguration) { c.KMSKeyArn = other }},
		"ScalingConfig": {
			func(c *types.EventSourceMappingConfiguration) { c.ScalingConfig = nil },
			func(c *types.EventSourceMappingConfiguration) { c.ScalingConfig.MaximumConcurrency = one },
		},
		"FilterCriteria": {func(c *types.EventSourceMappingConfiguration) {
			c.FilterCriteria.Filters = []types.Filter{{Pattern: other}}
		}},
		"ProvisionedPollerConfig": {
			func(c *types.EventSourceMappingConfiguration) { c.ProvisionedPollerConfig.MinimumPollers = one },
			func(c *types.EventSourceMappingConfiguration) { c.ProvisionedPollerConfig.MaximumPollers = one },
		},
		"DestinationConfig": {
			func(c *types.EventSourceMappingConfiguration) { c.DestinationConfig.OnFailure.Destination = other },
			func(c *types.EventSourceMappingConfiguration) {
				c.DestinationConfig.OnSuccess = &types.OnSuccess{Destination: other}
			},
		},
	}
	for field, each := range changes {
		for i, change := range each {
			found := m.asAWSAnswers()
			if change(&found); m.upToDate(found, false) {
				t.Errorf("with change %d of %s a mapping is up to date", i, field)
			}
		}
	}
	known := slices.Concat(slices.Collect(maps.Keys(changes)),
		// They name the mapping, or tell its state, which Apply and All go by.
		[]string{"UUID", "EventSourceArn", "EventSourceMappingArn", "FunctionArn", "State", "StateTransitionReason", "LastModified", "LastProcessingResult", "FilterCriteriaError"},
		// They change what is measured and logged, and no delivery.
		[]string{"MetricsConfig", "LoggingConfig"},
		// Lambda does not take them for a queue of SQS.
		[]string{
			"AmazonManagedKafkaEventSourceConfig", "BisectBatchOnFunctionError", "DocumentDBEventSourceConfig", "MaximumRecordAgeInSeconds",
			"MaximumRetryAttempts", "ParallelizationFactor", "Queues", "SelfManagedEventSource", "SelfManagedKafkaEventSourceConfig",
			"SourceAccessConfigurations", "StartingPosition", "StartingPositionTimestamp", "Topics", "TumblingWindowInSeconds",
		},
		[]string{"noSmithyDocumentSerde"},
	)
	for i := range reflect.TypeFor[types.EventSourceMappingConfiguration]().NumField() {
		if name := reflect.TypeFor[types.EventSourceMappingConfiguration]().Field(i).Name; !slices.Contains(known, name) {
			t.Errorf("Lambda answers %s, of which nobody decided whether a change of it is drift", name)
		}
	}
}
