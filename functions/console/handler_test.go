package main

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/api/openapi"
)

// ask sends a request as API Gateway does. An empty file asks for the page.
func ask(t *testing.T, method, version, file string) events.APIGatewayV2HTTPResponse {
	t.Helper()
	handler, err := newHandler(httpapi.Settings{Regions: []string{"fr-par", "nl-ams"}})
	if err != nil {
		t.Fatal(err)
	}
	var event events.APIGatewayV2HTTPRequest
	event.RequestContext.HTTP.Method = method
	if file != "" {
		event.PathParameters = map[string]string{"version": version, "file": file}
	}
	response, err := handler(context.Background(), event)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// referred finds the version and the name of each file that the page names.
var referred = regexp.MustCompile(`"console/([0-9a-f]{16})/([a-z.]+)"`)

func TestConsole_ServesThePageAndItsFilesUnderTheirHash(t *testing.T) {
	t.Parallel()
	got := ask(t, http.MethodGet, "", "")
	if got.StatusCode != 200 || got.Headers["Content-Type"] != "text/html; charset=utf-8" || got.Headers["Cache-Control"] != "no-cache" || !strings.Contains(got.Body, `content="fr-par,nl-ams"`) {
		t.Errorf("the page: got %d %v", got.StatusCode, got.Headers)
	}
	head := ask(t, http.MethodHead, "", "")
	if head.Body != "" || !maps.Equal(head.Headers, got.Headers) {
		t.Errorf("HEAD: got %v %q", head.Headers, head.Body)
	}
	for name, value := range security {
		if got.Headers[name] != value {
			t.Errorf("%s: got %q", name, got.Headers[name])
		}
	}
	// The modules that the page names import all others, and the hash is in the path of each.
	named := referred.FindAllStringSubmatch(got.Body, -1)
	if len(named) < 2 {
		t.Fatalf("the page names %v", named)
	}
	version, wanted := named[0][1], []string{}
	for _, each := range named {
		wanted = append(wanted, each[2])
	}
	imports := regexp.MustCompile(`from "\./([a-z.]+)"`)
	for i := 0; i < len(wanted); i++ {
		file := ask(t, http.MethodGet, version, wanted[i])
		if file.StatusCode != 200 || file.Headers["Content-Type"] != contentTypes[path.Ext(wanted[i])] || !strings.Contains(file.Headers["Cache-Control"], "immutable") || file.Headers["X-Content-Type-Options"] != "nosniff" {
			t.Errorf("%s: got %d %v", wanted[i], file.StatusCode, file.Headers)
		}
		for _, each := range imports.FindAllStringSubmatch(file.Body, -1) {
			if !slices.Contains(wanted, each[1]) {
				wanted = append(wanted, each[1])
			}
		}
	}
	files, err := read()
	if err != nil || len(wanted) != len(files)-1 {
		t.Errorf("the page needs %v of %v, %v", wanted, slices.Sorted(maps.Keys(files)), err)
	}
	for _, other := range [][2]string{{"0", "console.js"}, {version, "other.js"}, {version, "index.html"}, {version, "../handler.go"}} {
		if got := ask(t, http.MethodGet, other[0], other[1]); got.StatusCode != 404 || got.Headers["Content-Type"] != "application/json" {
			t.Errorf("%v: got %d %s", other, got.StatusCode, got.Body)
		}
	}
}

func TestConsole_VersionChangesWithEachFile(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, files := range []map[string]string{{"a": "1", "b": "2"}, {"a": "1", "b": "3"}, {"a": "12", "b": ""}, {"a": "1", "c": "2"}} {
		seen[hash(files)] = true
	}
	if len(seen) != 4 {
		t.Errorf("got %v", seen)
	}
}

func TestConsole_IsSmallAndNeedsNothingElse(t *testing.T) {
	t.Parallel()
	files, err := read()
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for name, text := range files {
		size += len(text)
		// Other hosts are named only in hints and in names of standards.
		for _, host := range regexp.MustCompile(`https?://[a-zA-Z0-9.-]+`).FindAllString(text, -1) {
			if !slices.Contains([]string{"http://www.w3.org", "https://jobs.example.com", "https://sqs.eu-west-3.amazonaws.com."}, host) {
				t.Errorf("%s names %s", name, host)
			}
		}
		for _, markup := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} {
			if strings.Contains(text, markup) {
				t.Errorf("%s has %s", name, markup)
			}
		}
	}
	if size > 100_000 {
		t.Errorf("the files have %d bytes", size)
	}
}

// The document's lists are those of the code: a test of the document compares them.
func TestConsole_HasAWordForEachValueOfTheAPI(t *testing.T) {
	t.Parallel()
	files, err := read()
	if err != nil {
		t.Fatal(err)
	}
	text, err := openapi.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Components struct {
			Schemas map[string]struct{ Enum []string }
		}
	}
	// Other schemas have an enum with null, which is an empty string here.
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for table, schema := range map[string]string{
		"statuses": "TriggerStatus", "states": "RunState", "origins": "RunOrigin", "reasons": "RunReason", "sources": "Source",
	} {
		found := regexp.MustCompile(`(?s)const ` + table + ` = \{(.*?)\n\};`).FindStringSubmatch(files["words.js"])
		if found == nil {
			t.Fatalf("words.js has no %s", table)
		}
		var keys []string
		for _, key := range regexp.MustCompile(`(?m)^  (?:(\w+)|""): "`).FindAllStringSubmatch(found[1], -1) {
			keys = append(keys, key[1])
		}
		if values := document.Components.Schemas[schema].Enum; len(values) == 0 || !slices.Equal(keys, values) {
			t.Errorf("%s: the page has words for %q, the document has %q", table, keys, values)
		}
	}
}
