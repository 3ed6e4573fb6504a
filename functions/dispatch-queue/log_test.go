package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

// TestHandle_LogsEachFailureAndOneDeliveryAMinute is not parallel: the tests share one logger.
func TestHandle_LogsEachFailureAndOneDeliveryAMinute(t *testing.T) {
	b, earlier := setup(t), slog.Default()
	t.Cleanup(func() { slog.SetDefault(earlier) })
	for level, want := range map[slog.Level]int{slog.LevelInfo: 1 + 2, slog.LevelDebug: 3 + 2} {
		var out bytes.Buffer
		slog.SetDefault(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: level})))
		b.delivered = newDelivered()
		for _, status := range []int{http.StatusOK, http.StatusOK, http.StatusBadGateway, http.StatusBadGateway, http.StatusOK} {
			b.answers(status)
			b.deliver(b.batch(1, "a message"))
		}
		if got := strings.Count(out.String(), `"msg":"called the container"`); got != want {
			t.Errorf("%s: got %d lines, want %d:\n%s", level, got, want, out.String())
		}
	}
}
