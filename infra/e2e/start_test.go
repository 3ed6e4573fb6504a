package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestFunctions_EndWithOneLineThatNamesEachMissingSetting(t *testing.T) {
	t.Parallel()
	binaries, err := filepath.Glob("../../.build/*/bootstrap")
	if err != nil || len(binaries) < 16 {
		t.Fatalf("got the binaries %v, %v: run `make build`", binaries, err)
	}
	for _, binary := range binaries {
		cmd := exec.CommandContext(t.Context(), binary)
		// Nothing listens there: a function that starts fails as well, but otherwise.
		cmd.Env = []string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1", "AWS_REGION=us-east-1"}
		output, err := cmd.CombinedOutput()
		line := strings.TrimSuffix(string(output), "\n")
		var said struct {
			Level string `json:"level"`
			Error string `json:"error"`
		}
		if err == nil || strings.Contains(line, "\n") || json.Unmarshal([]byte(line), &said) != nil {
			t.Errorf("%s: %v, and says %s", binary, err, output)
			continue
		}
		if said.Level != "ERROR" || !strings.Contains(said.Error, "_TABLE") || !strings.Contains(said.Error, "is not set") {
			t.Errorf("%s says %s", binary, line)
		}
	}
}
