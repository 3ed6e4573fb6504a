package e2e

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestConsole_IsServedWithoutAKeyAndLetsNothingElseIn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	type answer struct {
		method string
		status int
		header http.Header
		text   string
	}
	ask := func(method, path string) answer {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, b.APIURL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := exchanges.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		text, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer{method, got.StatusCode, got.Header, string(text)}
	}
	page := ask(http.MethodGet, "/")
	for _, got := range []answer{page, ask(http.MethodHead, "/")} {
		if got.status != http.StatusOK || !strings.HasPrefix(got.header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self';") ||
			got.header.Get("Referrer-Policy") != "no-referrer" || got.header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: got %d %v", got.method, got.status, got.header)
		}
	}
	script := regexp.MustCompile(`src="(console/[^"]+)"`).FindStringSubmatch(page.text)
	if script == nil {
		t.Fatalf("the page has no script: %s", page.text)
	}
	if got := ask(http.MethodGet, "/"+script[1]); got.status != http.StatusOK || got.header.Get("Content-Type") != "text/javascript; charset=utf-8" || !strings.Contains(got.text, "import ") {
		t.Errorf("got %d %v", got.status, got.header)
	}
	if got := ask(http.MethodGet, "/console/0/console.js"); got.status != http.StatusNotFound {
		t.Errorf("an old file: got %d", got.status)
	}
	if got := ask(http.MethodPut, "/"); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("PUT: got %d %v", got.status, got.header)
	}
}
