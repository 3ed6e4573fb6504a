package stack_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"containertriggers/infra/local/stack"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/platform/metric"
)

// series is a metric as an alarm or the dashboard names it. The values of its dimensions
// are as in Fn::Sub.
type series struct {
	namespace, name string
	dimensions      map[string]string
}

// published is what an AWS service publishes about a resource of ours.
type published struct {
	// dimension is the dimension whose value is a resource of that type.
	dimension, kind string
	metrics         []string
}

// documented are the metrics of AWS services that the template may use, each with exactly
// one dimension.
var documented = map[string]published{
	// Source: Lambda Developer Guide, "Types of metrics for Lambda functions".
	"AWS/Lambda": {"FunctionName", "AWS::Lambda::Function", []string{
		"Invocations", "Errors", "Throttles", "Duration", "IteratorAge", "ConcurrentExecutions",
		"AsyncEventsReceived", "AsyncEventAge", "AsyncEventsDropped", "DestinationDeliveryFailures",
	}},
	// Source: SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS".
	"AWS/SQS": {"QueueName", "AWS::SQS::Queue", []string{"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage", "NumberOfMessagesSent"}},
	// Source: DynamoDB Developer Guide, "DynamoDB metrics and dimensions".
	"AWS/DynamoDB": {"TableName", "AWS::DynamoDB::Table", []string{"ReadThrottleEvents", "WriteThrottleEvents", "ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"}},
	// Source: API Gateway Developer Guide, "Monitor CloudWatch metrics for HTTP APIs".
	"AWS/ApiGateway": {"ApiId", "AWS::ApiGatewayV2::Api", []string{"Count", "4xx", "5xx", "Latency", "IntegrationLatency", "DataProcessed"}},
	// Source: EventBridge Scheduler User Guide, "Monitoring with Amazon CloudWatch".
	"AWS/Scheduler": {"ScheduleGroup", "AWS::Scheduler::ScheduleGroup", []string{
		"InvocationAttemptCount", "TargetErrorCount", "TargetErrorThrottledCount", "InvocationThrottleCount", "InvocationDroppedCount",
		"InvocationsSentToDeadLetterCount", "InvocationsFailedToBeSentToDeadLetterCount",
	}},
}

// ofRuns are the metrics that have the dimension Source as well.
var ofRuns = map[string]bool{metric.Runs: true, metric.RunsFailed: true, metric.RunsSkipped: true, metric.RunsNotRecorded: true, metric.Attempts: true, metric.AttemptDuration: true, metric.ScheduleLag: true}

// check fails the test if nothing publishes a series.
func (s series) check(t *testing.T, where string, resources map[string]stack.Resource, own map[string]bool) {
	t.Helper()
	if s.namespace == metric.Namespace {
		dimensions := maps.Clone(s.dimensions)
		if source := trigger.Source(dimensions["Source"]); ofRuns[s.name] && slices.Contains([]trigger.Source{trigger.SourceCron, trigger.SourceSQS, trigger.SourceNATS}, source) {
			delete(dimensions, "Source")
		}
		if !own[s.name] || !maps.Equal(dimensions, map[string]string{"Stack": stackName}) {
			t.Errorf("%s: no function emits the metric %s with the dimensions %v", where, s.name, s.dimensions)
		}
		return
	}
	of, ok := documented[s.namespace]
	if !ok || !slices.Contains(of.metrics, s.name) {
		t.Errorf("%s: AWS documents no metric %s in %q", where, s.name, s.namespace)
		return
	}
	value, ok := s.dimensions[of.dimension]
	if resource := resources[logicalID(value)]; !ok || len(s.dimensions) != 1 || resource.Type != of.kind {
		t.Errorf("%s: the metric %s has the dimensions %v, want a %s of the type %s", where, s.name, s.dimensions, of.dimension, of.kind)
	}
	if want := of.kind == "AWS::SQS::Queue"; strings.HasSuffix(value, ".QueueName}") != want {
		t.Errorf("%s: the metric %s is of %s", where, s.name, value) // the Ref of a queue is its URL
	}
}

// ofAlarm returns the series of an alarm.
func ofAlarm(alarm stack.Resource) (all []series) {
	walk(alarm.Properties, func(node map[string]any) {
		name, ok := node["MetricName"].(string)
		if !ok {
			return
		}
		one := series{name: name, dimensions: map[string]string{}}
		one.namespace, _ = node["Namespace"].(string)
		for _, dimension := range list(node["Dimensions"]) {
			dimension := dimension.(map[string]any)
			one.dimensions[dimension["Name"].(string)] = reference(dimension["Value"])
		}
		all = append(all, one)
	})
	return all
}

// ofDashboard returns the series of a dashboard.
func ofDashboard(t *testing.T, dashboard stack.Resource) (all []series) {
	t.Helper()
	var body struct {
		Widgets []struct {
			Properties struct {
				Title, Query string
				Metrics      [][]any
			}
		}
	}
	text, _ := dashboard.Properties["DashboardBody"].(map[string]any)["Fn::Sub"].(string)
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatalf("the dashboard is not JSON: %v", err)
	}
	for _, widget := range body.Widgets {
		if (len(widget.Properties.Metrics) > 0) == strings.HasPrefix(widget.Properties.Query, "SOURCE '${Logs}' | ") {
			t.Errorf("the widget %s shows neither metrics nor a query of the logs, or both", widget.Properties.Title)
		}
		for _, line := range widget.Properties.Metrics {
			one := series{dimensions: map[string]string{}}
			var words []string
			for _, word := range line {
				if word, ok := word.(string); ok {
					words = append(words, word)
				}
			}
			if len(words) < 2 || len(words)%2 != 0 {
				t.Fatalf("%s: cannot read the metric %v", widget.Properties.Title, line)
			}
			one.namespace, one.name = words[0], words[1]
			for dimension := range slices.Chunk(words[2:], 2) {
				one.dimensions[dimension[0]] = dimension[1]
			}
			all = append(all, one)
		}
	}
	return all
}

func TestTemplate_AlarmsAndDashboardHaveMetricsThatSomethingPublishes(t *testing.T) {
	t.Parallel()
	resources := deployment(t, "options") // alarms are there for a topic only
	own := map[string]bool{}
	for logicalID, function := range ofType(resources, "AWS::Lambda::Function") {
		if set(function)["STACK"] {
			maps.Copy(own, emitted(t, folder(logicalID, function)))
		}
	}
	for name, alarm := range ofType(resources, "AWS::CloudWatch::Alarm") {
		all := ofAlarm(alarm)
		// Source: CloudWatch User Guide, "Create a CloudWatch alarm based on a metric math
		// expression".
		if len(all) == 0 || len(all) > 10 {
			t.Errorf("%s has %d metrics, want 1 to 10", name, len(all))
		}
		for _, one := range all {
			one.check(t, name, resources, own)
		}
	}
	for name, dashboard := range ofType(resources, "AWS::CloudWatch::Dashboard") {
		all := ofDashboard(t, dashboard)
		if len(all) == 0 {
			t.Errorf("%s has no metric", name)
		}
		for _, one := range all {
			one.check(t, name, resources, own)
		}
	}
}

// An alarm tells of its end as of its start, and says what missing data mean. An alarm for
// which missing data are bad rings in the first minutes of each stack, so it must not:
// those minutes have none.
// Source: CloudWatch User Guide, "Configuring how CloudWatch alarms treat missing data".
func TestTemplate_AlarmsTellOfStartAndEndAndNotOfANewStack(t *testing.T) {
	t.Parallel()
	all := ofType(deployment(t, "options"), "AWS::CloudWatch::Alarm")
	if len(all) == 0 {
		t.Fatal("there are no alarms")
	}
	for name, alarm := range all {
		for _, actions := range []string{"AlarmActions", "OKActions"} {
			if topics := list(alarm.Properties[actions]); len(topics) != 1 || topics[0] != alarmTopic {
				t.Errorf("%s has the %s %v", name, actions, topics)
			}
		}
		switch missing := alarm.Properties["TreatMissingData"]; missing {
		case "notBreaching":
		case "missing": // a heartbeat: the alarm tells if the data end
			if topics := list(alarm.Properties["InsufficientDataActions"]); len(topics) != 1 || topics[0] != alarmTopic {
				t.Errorf("%s tells nobody if its data end", name)
			}
		default:
			t.Errorf("%s treats missing data as %v", name, missing)
		}
	}
}

// Access logs show who called what, and no token: those are in headers and queries.
func TestTemplate_LogsEachRequestWithoutTokens(t *testing.T) {
	t.Parallel()
	resources := deployment(t, "prod")
	for name, stage := range ofType(resources, "AWS::ApiGatewayV2::Stage") {
		access, ok := stage.Properties["AccessLogSettings"].(map[string]any)
		if !ok {
			t.Fatalf("%s has no access log", name)
		}
		if group := resources[logicalID(reference(access["DestinationArn"]))]; group.Type != "AWS::Logs::LogGroup" || group.Properties["RetentionInDays"] == nil {
			t.Errorf("%s logs to %v", name, access["DestinationArn"])
		}
		var line map[string]string
		if err := json.Unmarshal([]byte(access["Format"].(string)), &line); err != nil {
			t.Fatalf("a line is not JSON: %v: %v", err, access["Format"])
		}
		var got []string
		for _, variable := range line {
			got = append(got, variable)
		}
		slices.Sort(got)
		// Source: API Gateway Developer Guide, "Customize HTTP API access logs".
		want := []string{
			"$context.identity.sourceIp", "$context.integrationErrorMessage", "$context.integrationLatency", "$context.integrationStatus",
			"$context.requestId", "$context.requestTime", "$context.responseLatency", "$context.responseLength", "$context.routeKey", "$context.status",
		}
		if !slices.Equal(got, want) {
			t.Errorf("a line has %v, want %v", got, want)
		}
	}
}
