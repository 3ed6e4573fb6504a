package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"testing"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/auth"
)

// created is an answer that names its resource.
type created struct{}

func (created) ResourceID() string { return "new" }

// It sets the logger that all have: it must not be parallel.
func TestNew_LogsWhoChangedWhat(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	do := func(answer any, err error) httpapi.Operation[httpapi.Request] {
		return httpapi.Operation[httpapi.Request]{Do: func(context.Context, auth.Principal, httpapi.Request, httpapi.Request) (any, error) {
			return answer, err
		}}
	}
	preview := do(created{}, nil)
	preview.ReadOnly = true
	for what, test := range map[string]struct {
		method, path string
		op           httpapi.Operation[httpapi.Request]
		id           string // "" if there is no line
	}{
		"update":  {http.MethodPatch, id, do(created{}, nil), id},
		"create":  {http.MethodPost, "", do(created{}, nil), "new"},
		"get":     {http.MethodGet, id, do(created{}, nil), ""},
		"preview": {http.MethodPost, "", preview, ""},
		"refused": {http.MethodPatch, id, do(nil, apierr.NotFound("trigger", id)), ""},
	} {
		var log bytes.Buffer
		slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
		event := request(test.method, "{}")
		event.RouteKey = test.method + " /triggers"
		if test.path == "" {
			delete(event.PathParameters, "trigger_id")
		}
		serve(t, event, test.op)
		var line struct {
			Msg, Route, ID, Resource string
			RequestID                string `json:"request_id"`
			OrganizationID           string `json:"organization_id"`
			AccessKey                string `json:"access_key"`
		}
		if log.Len() > 0 {
			if err := json.Unmarshal(log.Bytes(), &line); err != nil {
				t.Fatalf("%s: %v in %s", what, err, log.String())
			}
		}
		if line.ID != test.id || test.id != "" && (line.Msg != "changed" || line.Route != event.RouteKey || line.Resource != "trigger" || line.RequestID != "request" || line.OrganizationID != "o" || line.AccessKey != "SCW") {
			t.Errorf("%s: logged %s", what, log.String())
		}
	}
}
