// Package metric writes metrics to the log in CloudWatch's embedded metric format
// (CloudWatch User Guide, "Specification: Embedded metric format"). CloudWatch reads them
// from there, so a metric costs no call.
package metric

import (
	"context"
	"log/slog"
	"time"
)

// Namespace is the CloudWatch namespace of the metrics.
const Namespace = "ContainerTriggers"

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

// Count logs a message with counts as metrics of a stack. CloudWatch reads them only if the
// default logger writes JSON.
func Count(ctx context.Context, message, stack string, counts map[string]int) {
	one := directive{Namespace: Namespace, Dimensions: [][]string{{"Stack"}}}
	attributes := []slog.Attr{slog.String("Stack", stack)}
	for name, count := range counts {
		one.Metrics = append(one.Metrics, named{name, "Count"})
		attributes = append(attributes, slog.Int(name, count))
	}
	attributes = append(attributes, slog.Any("_aws", definition{time.Now().UnixMilli(), []directive{one}}))
	slog.LogAttrs(ctx, slog.LevelInfo, message, attributes...) //nolint:sloglint // the caller names what is counted
}
