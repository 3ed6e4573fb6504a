package metric

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
)

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
