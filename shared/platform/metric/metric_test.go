package metric

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"
)

func TestLog_HasTheSourceAndDurations(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	many := slices.Repeat([]time.Duration{2 * time.Second}, MaxValues+1)
	Log(t.Context(), slog.New(slog.NewJSONHandler(&log, nil)), "called", Set{
		Stack: "a-stack", Source: "cron", Counts: map[string]int{Runs: 1}, Durations: map[string][]time.Duration{AttemptDuration: many, ScheduleLag: nil},
	}, slog.String("state", "failed"))
	var line struct {
		Source, State   string
		Runs            int
		AttemptDuration []int
		ScheduleLag     any
		AWS             struct {
			CloudWatchMetrics []struct{ Dimensions [][]string }
		} `json:"_aws"`
	}
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line.Source != "cron" || line.State != "failed" || line.Runs != 1 || len(line.AttemptDuration) != MaxValues || line.AttemptDuration[0] != 2000 || line.ScheduleLag != nil || len(line.AWS.CloudWatchMetrics[0].Dimensions[0]) != 2 {
		t.Errorf("got %s", log.String())
	}
}

// It sets the logger that all have: it must not be parallel.
func TestCount_LogsMetricsThatCloudWatchFinds(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
	Count(t.Context(), "swept", "a-stack", map[string]int{"Drifted": 3, "Stuck": 0})

	var line struct {
		Stack          string
		Drifted, Stuck *int
		AWS            struct {
			Timestamp         int64
			CloudWatchMetrics []struct {
				Namespace  string
				Dimensions [][]string
				Metrics    []struct{ Name, Unit string }
			}
		} `json:"_aws"`
	}
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line.Stack != "a-stack" || line.Drifted == nil || *line.Drifted != 3 || line.Stuck == nil || line.AWS.Timestamp == 0 {
		t.Errorf("got %s", log.String())
	}
	if len(line.AWS.CloudWatchMetrics) != 1 {
		t.Fatalf("got %s", log.String())
	}
	directive := line.AWS.CloudWatchMetrics[0]
	if directive.Namespace != Namespace || len(directive.Dimensions) != 1 || directive.Dimensions[0][0] != "Stack" || len(directive.Metrics) != 2 || directive.Metrics[0].Unit != "Count" {
		t.Errorf("got %+v", directive)
	}
}
