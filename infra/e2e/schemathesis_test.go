//go:build schemathesis

package e2e

import (
	"os"
	"os/exec"
	"testing"
)

// Schemathesis makes requests up from the document. No answer is a 5xx, or other than the
// document says. The seed is in the output.
func TestDocument_SchemathesisFindsNoOtherAnswer(t *testing.T) {
	b := setup(t)
	run := exec.CommandContext(t.Context(), os.Getenv("SCHEMATHESIS"), "run", b.APIURL()+"/openapi.yaml", "--url", b.APIURL(),
		"--header", "X-Auth-Token: "+b.secretKey, "--phases", "examples,fuzzing", "--max-examples", "20", "--continue-on-failure",
		"--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance")
	output, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, output)
	}
	t.Logf("%s", output[max(0, len(output)-500):])
}
