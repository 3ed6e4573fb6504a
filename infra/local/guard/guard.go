// Package guard stands before an AWS emulator and refuses what AWS refuses and
// the emulator lets pass. It also takes the asynchronous invocations of functions,
// which the local cloud runs itself.
package guard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"

	"containertriggers/infra/local/awscron"
)

// Guard is a proxy to an emulator.
type Guard struct {
	proxy    *httputil.ReverseProxy
	mappings mappings
	roles    atomic.Pointer[roles]
	invoke   atomic.Pointer[func(function string, payload []byte) error]
}

// New makes a proxy to the emulator's endpoint.
func New(endpoint string) (*Guard, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("reading the endpoint: %w", err)
	}
	return &Guard{mappings: newMappings(endpoint), proxy: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the emulator makes queue URLs of it
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil { // else the client has left
				slog.Error("the emulator did not answer", "error", err)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	}}, nil
}

// SetInvoke says what queues an asynchronous invocation of a function, which is
// named by name or ARN.
func (g *Guard) SetInvoke(invoke func(function string, payload []byte) error) {
	g.invoke.Store(&invoke)
}

// invocation is the path of an invocation (API reference of Invoke).
var invocation = regexp.MustCompile(`^/2015-03-31/functions/([^/]+)/invocations$`)

func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	problem := g.roles.Load().denied(r, body)
	if problem == nil && (r.Method == http.MethodPost || r.Method == http.MethodPut) {
		var taken bool
		if problem, taken = g.check(r, body); taken {
			w.WriteHeader(http.StatusAccepted)
			return
		}
	}
	if problem != nil {
		problem.write(w)
		return
	}
	g.proxy.ServeHTTP(w, r)
}

// check is what is wrong with what is to be made or invoked. An asynchronous
// invocation is taken here.
func (g *Guard) check(r *http.Request, body []byte) (problem *refusal, taken bool) {
	if schedule, ok := strings.CutPrefix(r.URL.Path, "/schedules/"); ok {
		return checkSchedule(schedule, body), false
	}
	if strings.HasPrefix(r.URL.Path, mappingsPath) {
		problem := g.mappings.check(r.Context(), r.Method, r.URL.Path, body)
		if problem == nil && r.Method == http.MethodPost {
			problem = g.roles.Load().mayNotRead(body)
		}
		return problem, false
	}
	invoked, invoke := invocation.FindStringSubmatch(r.URL.Path), g.invoke.Load()
	if invoked == nil || invoke == nil || r.Header.Get("X-Amz-Invocation-Type") != "Event" {
		return nil, false
	}
	if err := (*invoke)(invoked[1], body); err != nil {
		return &refusal{http.StatusNotFound, "ResourceNotFoundException", err.Error()}, false
	}
	return nil, true
}

// refusal is an error as AWS answers it.
type refusal struct {
	status        int
	code, message string
}

func (r refusal) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-ErrorType", r.code)
	w.WriteHeader(r.status)
	body, _ := json.Marshal(map[string]string{"Message": r.message}) // a map of strings always encodes
	_, _ = w.Write(body)
}

// scheduleName is the form of schedule names (API reference of CreateSchedule).
var scheduleName = regexp.MustCompile(`^[0-9a-zA-Z-_.]{1,64}$`)

// checkSchedule is what EventBridge Scheduler says against a schedule; nil where it
// takes it.
func checkSchedule(name string, body []byte) *refusal {
	var schedule struct {
		ScheduleExpression         string
		ScheduleExpressionTimezone string
		FlexibleTimeWindow         *struct{ Mode string }
		Target                     *struct{ Arn, RoleArn, Input string }
	}
	refuse := func(message string) *refusal { return &refusal{http.StatusBadRequest, "ValidationException", message} }
	if err := json.Unmarshal(body, &schedule); err != nil {
		return refuse("the request is not JSON")
	}
	switch {
	case !scheduleName.MatchString(name):
		return refuse("Value '" + name + "' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: " + scheduleName.String())
	case schedule.FlexibleTimeWindow == nil || schedule.FlexibleTimeWindow.Mode == "":
		return refuse("Value null at 'flexibleTimeWindow' failed to satisfy constraint: Member must not be null")
	case schedule.Target == nil || schedule.Target.Arn == "" || schedule.Target.RoleArn == "":
		return refuse("Value null at 'target' failed to satisfy constraint: Member must not be null")
	}
	if _, err := awscron.Parse(schedule.ScheduleExpression, schedule.ScheduleExpressionTimezone); err != nil {
		return refuse(err.Error())
	}
	return nil
}
