package e2e

import (
	"strings"
	"testing"
	"time"
)

func TestFunctions_HaveTheLimitsOfTheTemplate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	reserves := b.Function("sweep").Reserved
	dispatches := 100
	switch {
	case reserves == 0 && emulator != "":
		tellGap(t, "reserved concurrency") // LocalStack's CloudFormation leaves it out
		dispatches = 0
	case reserves != 1:
		t.Errorf("sweep reserves %d, want 1", reserves)
	}
	type limits struct {
		memoryMB, reserved, retries int
		age                         time.Duration
		onFailure                   bool
	}
	for folder, want := range map[string]limits{
		"get-trigger":       {256, 0, 2, 6 * time.Hour, false}, // Lambda's defaults
		"dispatch-schedule": {128, dispatches, 2, 6 * time.Hour, true},
		"relay":             {512, 0, 0, time.Minute, false},
	} {
		f := b.Function(folder)
		if got := (limits{f.MemoryMB, f.Reserved, f.Retries, f.MaxAge, strings.HasPrefix(f.OnFailure, "arn:")}); got != want {
			t.Errorf("%s: got %+v, want %+v", folder, got, want)
		}
	}
}
