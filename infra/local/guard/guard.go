// Package guard stands before an AWS emulator and refuses what AWS refuses and
// the emulator lets pass.
package guard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"

	"containertriggers/infra/local/awscron"
)

// New makes a proxy to the emulator's endpoint.
func New(endpoint string) (http.Handler, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("reading the endpoint: %w", err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // the emulator makes queue URLs of it
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, ok := strings.CutPrefix(r.URL.Path, "/schedules/"); ok && (r.Method == http.MethodPost || r.Method == http.MethodPut) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			if problem := checkSchedule(name, body); problem != "" {
				refuse(w, problem)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		proxy.ServeHTTP(w, r)
	}), nil
}

// scheduleName is the form of schedule names (API reference of CreateSchedule).
var scheduleName = regexp.MustCompile(`^[0-9a-zA-Z-_.]{1,64}$`)

// checkSchedule is what EventBridge Scheduler says against a schedule; "" where
// it takes it.
func checkSchedule(name string, body []byte) string {
	var schedule struct {
		ScheduleExpression         string
		ScheduleExpressionTimezone string
		FlexibleTimeWindow         *struct{ Mode string }
		Target                     *struct{ Arn, RoleArn, Input string }
	}
	if err := json.Unmarshal(body, &schedule); err != nil {
		return "the request is not JSON"
	}
	switch {
	case !scheduleName.MatchString(name):
		return "Value '" + name + "' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: " + scheduleName.String()
	case schedule.FlexibleTimeWindow == nil || schedule.FlexibleTimeWindow.Mode == "":
		return "Value null at 'flexibleTimeWindow' failed to satisfy constraint: Member must not be null"
	case schedule.Target == nil || schedule.Target.Arn == "" || schedule.Target.RoleArn == "":
		return "Value null at 'target' failed to satisfy constraint: Member must not be null"
	}
	if _, err := awscron.Parse(schedule.ScheduleExpression, schedule.ScheduleExpressionTimezone); err != nil {
		return err.Error()
	}
	return ""
}

func refuse(w http.ResponseWriter, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-ErrorType", "ValidationException")
	w.WriteHeader(http.StatusBadRequest)
	body, _ := json.Marshal(map[string]string{"Message": message}) // a map of strings always encodes
	_, _ = w.Write(body)
}
