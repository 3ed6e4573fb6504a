package awsconfig

import (
	"log/slog"
	"os"

	"github.com/caarlos0/env/v11"
)

// Settings returns a function's settings from its environment. If one is missing or
// malformed, it ends the process like [Fatal]; the log line names the setting.
func Settings[S any]() S {
	settings, err := env.ParseAs[S]()
	if err != nil {
		Fatal(err)
	}
	return settings
}

// Fatal logs why a function cannot start, and ends the process. A panic would log a stack
// trace that hides the reason.
func Fatal(err error) {
	slog.Error("the function cannot start", "error", err)
	os.Exit(1)
}
