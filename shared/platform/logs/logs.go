// Package logs sets up the log of a function.
package logs

import (
	"io"
	"log/slog"
	"os"
)

// Start makes the default logger write JSON to the standard output, from the level on that
// LOG_LEVEL names: DEBUG, INFO, WARN or ERROR. Any other value stands for INFO. Metrics are
// written at every level.
func Start() { slog.SetDefault(to(os.Stdout, os.Getenv("LOG_LEVEL"))) }

func to(out io.Writer, name string) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(name)) != nil {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level}))
}
