package sample

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The key of the events is public: it must never get into a deployment on AWS.
func TestStore_SignsWithCredentialsUnknownToAWS(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "real")
	requests := make(chan string, 100)
	aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Header.Get("Authorization")
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(aws.Close)
	if err := Store(t.Context(), aws.URL, map[string]string{"KEYS_TABLE": "keys"}, "runs", "http://127.0.0.1:1"); err == nil {
		t.Error("the key is stored where the signature is refused")
	}
	if len(requests) == 0 {
		t.Fatal("nothing was asked")
	}
	for len(requests) > 0 {
		if signature := <-requests; !strings.Contains(signature, "Credential=local/") {
			t.Errorf("got the signature %s", signature)
		}
	}
}

func TestEvents_CarryTheKeyThatStoreStores(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../events/*.json")
	if err != nil {
		t.Fatal(err)
	}
	carried := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var event struct{ Headers map[string]string }
		if err := json.Unmarshal(text, &event); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if event.Headers == nil || slices.Contains([]string{"default-route.json", "console.json"}, filepath.Base(file)) {
			continue // it is no request, or one that needs no key
		}
		carried++
		if event.Headers["x-auth-token"] != key {
			t.Errorf("%s carries the key %q", file, event.Headers["x-auth-token"])
		}
	}
	if carried == 0 {
		t.Errorf("none of %v is a request", files)
	}
}
