package logs

import (
	"bytes"
	"strings"
	"testing"

	"containertriggers/shared/platform/metric"
)

func TestStart_WritesFromTheLevelOnAndEveryMetric(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"DEBUG": "debug info warn error metric", "INFO": "info warn error metric", "WARN": "warn error metric", "ERROR": "error metric",
		"": "info warn error metric", "loud": "info warn error metric",
	} {
		var out bytes.Buffer
		log := to(&out, name)
		log.DebugContext(t.Context(), "debug")
		log.InfoContext(t.Context(), "info")
		log.WarnContext(t.Context(), "warn")
		log.ErrorContext(t.Context(), "error")
		metric.Log(t.Context(), log, "metric", metric.Set{Stack: "s", Counts: map[string]int{"Runs": 1}})
		var got []string
		for line := range strings.Lines(out.String()) {
			_, message, _ := strings.Cut(line, `"msg":"`)
			message, _, _ = strings.Cut(message, `"`)
			got = append(got, message)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %v, want %s", name, got, want)
		}
	}
}
