package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// A reader of the document may send its examples as they are, but for the IDs.
func TestDocument_ExamplesAreAccepted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	document, err := document()
	if err != nil {
		t.Fatal(err)
	}
	trigger := b.createCron("example", "@yearly", "UTC")
	b.wait(trigger.ID)
	namespace := b.do(http.MethodPost, regional+"/namespaces", `{"name":"examples"}`, nil).body["id"].(string)
	run := b.do(http.MethodPost, regional+"/triggers/"+trigger.ID+"/run", `{}`, nil).body["id"].(string)
	ids := strings.NewReplacer("{region}", "fr-par", "{trigger_id}", trigger.ID, "{container_id}", b.containerID, "{namespace_id}", namespace, "{trigger_run_id}", run)
	sent := 0
	for path, item := range document.Paths.Map() {
		for method, operation := range item.Operations() {
			if operation.RequestBody == nil {
				continue
			}
			for name, example := range operation.RequestBody.Value.Content["application/json"].Examples {
				body := example.Value.Value.(map[string]any)
				if _, ok := body["container_id"]; ok {
					body["container_id"] = b.containerID
				}
				text, err := json.Marshal(body)
				if err != nil {
					t.Fatal(err)
				}
				if r := b.do(method, ids.Replace(path), string(text), nil); r.status != http.StatusOK {
					t.Errorf("%s %s, example %s: got %d %s", method, path, name, r.status, r.text)
				}
				sent++
			}
		}
	}
	if sent < 12 {
		t.Errorf("the document has %d examples", sent)
	}
	for _, form := range []string{"yaml", "json"} {
		answer, err := http.Get(b.APIURL() + "/openapi." + form) //nolint:noctx // the test ends it
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "application/"+form {
			t.Errorf("%s: got %d with %v", form, answer.StatusCode, answer.Header)
		}
	}
}
