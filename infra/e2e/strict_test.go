package e2e

import (
	"strings"
	"testing"
	"time"
)

func TestFunctions_HaveTheLimitsOfTheTemplate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if got := b.Function("sweep").Reserved; got != 1 {
		t.Errorf("sweep reserves %d, want 1", got)
	}
	type limits struct {
		memoryMB, reserved, retries int
		age                         time.Duration
		onFailure                   bool
	}
	for folder, want := range map[string]limits{
		"get-trigger":       {256, 0, 2, 6 * time.Hour, false}, // Lambda's defaults
		"dispatch-schedule": {256, 100, 2, 6 * time.Hour, true},
		"relay":             {512, 0, 0, time.Minute, false},
	} {
		f := b.Function(folder)
		if got := (limits{f.MemoryMB, f.Reserved, f.Retries, f.MaxAge, strings.HasPrefix(f.OnFailure, "arn:")}); got != want {
			t.Errorf("%s: got %+v, want %+v", folder, got, want)
		}
	}
}
