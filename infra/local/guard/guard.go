// Package guard is a proxy before an AWS emulator. It refuses requests that AWS refuses and
// the emulator accepts. It limits the rate of requests as AWS does, and changes event
// source mappings as slowly as AWS. It also takes the asynchronous invocations of functions,
// which the local cloud runs itself, and keeps the emulator from polling event sources,
// because the local cloud polls them.
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
	"time"

	"containertriggers/infra/local/awscron"
)

// Guard is a proxy to an emulator.
type Guard struct {
	proxy    *httputil.ReverseProxy
	rates    rates
	mappings mappings
	held     *held
	roles    atomic.Pointer[roles]
	invoke   atomic.Pointer[func(function string, payload []byte) error]
	tables   *emulated
	lag      atomic.Pointer[lag]
	meter    atomic.Pointer[meter]
}

// New makes a proxy to the emulator's endpoint.
func New(endpoint string) (*Guard, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("reading the endpoint: %w", err)
	}
	held := newHeld()
	return &Guard{tables: newEmulated(endpoint), rates: newRates(), mappings: newMappings(endpoint, held), held: held, proxy: &httputil.ReverseProxy{
		ModifyResponse: func(r *http.Response) error {
			if err := age(r); err != nil {
				return err
			}
			return held.response(r)
		},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the emulator makes queue URLs of it
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil { // else the client has left
				slog.ErrorContext(r.Context(), "the emulator did not answer", "error", err)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	}}, nil
}

// KeepDeletedMappings has deleted event source mappings hidden instead: LocalStack
// cannot delete one that is disabled.
func (g *Guard) KeepDeletedMappings() { g.held.keepDeleted = true }

// SetMappingTime sets how long each change of an event source mapping lasts. By default
// changes take effect at once.
func (g *Guard) SetMappingTime(lasting time.Duration) { g.held.setLasting(lasting) }

// EndChanges completes all changes of event source mappings that are under way.
func (g *Guard) EndChanges() { g.held.endChanges() }

// SetProcessingResult sets the LastProcessingResult of an event source mapping by its UUID.
func (g *Guard) SetProcessingResult(uuid, result string) { g.held.setResult(uuid, result) }

// Polls reports whether Lambda polls the source of an event source mapping, by its UUID.
func (g *Guard) Polls(uuid string) bool { return g.held.polls(uuid) }

// SetInvoke sets the function that queues asynchronous invocations. It gets a function's
// name or ARN.
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
	g.meter.Load().count(w, r, body, func(w http.ResponseWriter) { g.serve(w, r, body) })
}

func (g *Guard) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	problem := g.rates.exceeded(r)
	if problem == nil {
		problem = g.roles.Load().denied(r, body)
	}
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
	if strings.HasPrefix(r.URL.Path, mappingsPath) {
		if g.held.serve(w, r) {
			return
		}
		r = g.mappings.reuse(r, body)
		var err error
		if r, err = g.held.request(r, body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	g.proxy.ServeHTTP(w, g.lag.Load().apply(r, body))
}

// check returns AWS's refusal of a request, or nil. It queues an asynchronous invocation
// itself and then returns true.
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

// checkSchedule returns EventBridge Scheduler's refusal of a schedule, or nil.
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
