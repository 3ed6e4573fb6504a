// Package metric writes metrics to the log in CloudWatch's embedded metric format
// (CloudWatch User Guide, "Specification: Embedded metric format"). CloudWatch reads them
// from there, so a metric costs no call.
package metric

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// Namespace is the CloudWatch namespace of the metrics.
const Namespace = "ContainerTriggers"

// The metrics of runs. Their dimensions are the stack and the source.
const (
	// Runs is the number of runs that ended, and RunsFailed of those that failed. RunsSkipped
	// is the number of occurrences without a call.
	Runs        = "Runs"
	RunsFailed  = "RunsFailed"
	RunsSkipped = "RunsSkipped"
	// RunsNotRecorded is the number of outcomes that the table of runs does not have.
	RunsNotRecorded = "RunsNotRecorded"
	// Attempts is the number of calls, and AttemptDuration how long they took.
	Attempts        = "Attempts"
	AttemptDuration = "AttemptDuration"
	// ScheduleLag is the time from an occurrence's scheduled time to its first call.
	ScheduleLag = "ScheduleLag"
)

// DeadLetters is the number of events that the service itself could neither deliver nor record.
// Its dimension is the stack.
const DeadLetters = "DeadLetters"

// MaxValues is the largest number of values of one metric in a line.
const MaxValues = 100

type definition struct {
	Timestamp         int64       `json:"Timestamp"` // in milliseconds
	CloudWatchMetrics []directive `json:"CloudWatchMetrics"`
}

type directive struct {
	Namespace  string     `json:"Namespace"`
	Dimensions [][]string `json:"Dimensions"`
	Metrics    []named    `json:"Metrics"`
}

type named struct {
	Name string `json:"Name"`
	Unit string `json:"Unit"`
}

// Set is a set of metrics with the same dimensions.
type Set struct {
	// Stack is a dimension. Source is another one unless it is empty.
	Stack, Source string
	Counts        map[string]int
	// Durations have at most MaxValues values each. CloudWatch gets them in milliseconds.
	Durations map[string][]time.Duration
}

// Count logs a message with counts as metrics of a stack. CloudWatch reads them only if the
// default logger writes JSON.
func Count(ctx context.Context, message, stack string, counts map[string]int) {
	Log(ctx, slog.Default(), message, Set{Stack: stack, Counts: counts})
}

// Log logs a message with metrics and further attributes in one line. CloudWatch reads the
// metrics only if the logger writes JSON.
func Log(ctx context.Context, log *slog.Logger, message string, s Set, more ...slog.Attr) {
	one := directive{Namespace: Namespace, Dimensions: [][]string{{"Stack"}}}
	attributes := append(more, slog.String("Stack", s.Stack))
	if s.Source != "" {
		one.Dimensions = [][]string{{"Stack", "Source"}}
		attributes = append(attributes, slog.String("Source", s.Source))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Counts)) {
		one.Metrics = append(one.Metrics, named{name, "Count"})
		attributes = append(attributes, slog.Int(name, s.Counts[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Durations)) {
		values := make([]int64, 0, MaxValues)
		for _, took := range s.Durations[name][:min(len(s.Durations[name]), MaxValues)] {
			values = append(values, took.Milliseconds())
		}
		if len(values) > 0 {
			one.Metrics = append(one.Metrics, named{name, "Milliseconds"})
			attributes = append(attributes, slog.Any(name, values))
		}
	}
	attributes = append(attributes, slog.Any("_aws", definition{time.Now().UnixMilli(), []directive{one}}))
	line := slog.NewRecord(time.Now(), slog.LevelInfo, message, 0)
	line.AddAttrs(attributes...)
	if err := log.Handler().Handle(ctx, line); err != nil { // whatever the level of the log is
		slog.ErrorContext(ctx, "metrics are lost", "error", err)
	}
}
