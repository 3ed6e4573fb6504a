package guard

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/time/rate"
)

// The requests a second that Lambda accepts from an account in a region. No quota can be
// raised. Source: Lambda Developer Guide, "Lambda quotas", section "Lambda API requests".
const (
	getFunctionRate  = 100
	getPolicyRate    = 15
	controlPlaneRate = 15 // for all other operations together, except invocations
)

// The requests a second that EventBridge Scheduler accepts from an account in most regions.
// Some regions accept more. Source: EventBridge Scheduler User Guide, "Quotas for Amazon
// EventBridge Scheduler".
const (
	scheduleRate      = 250 // for each of create, get, update and delete
	listSchedulesRate = 50
	otherScheduleRate = 10 // for each operation on groups and tags
)

// rates limits the requests of the account that the emulator plays.
type rates struct {
	getFunction, getPolicy, controlPlane *rate.Limiter
	schedules                            map[string]*rate.Limiter // by the HTTP method
	listSchedules, otherSchedules        *rate.Limiter
}

func newRates() rates {
	perSecond := func(n int) *rate.Limiter { return rate.NewLimiter(rate.Limit(n), n) }
	schedules := map[string]*rate.Limiter{}
	for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodPut, http.MethodDelete} {
		schedules[method] = perSecond(scheduleRate)
	}
	return rates{
		getFunction: perSecond(getFunctionRate), getPolicy: perSecond(getPolicyRate), controlPlane: perSecond(controlPlaneRate),
		schedules: schedules, listSchedules: perSecond(listSchedulesRate), otherSchedules: perSecond(otherScheduleRate),
	}
}

// uncounted is the header of requests that an AWS account would not make. They are the
// local cloud's own, and those by which tests look at the outcome.
const uncounted = "X-Local-Cloud-Uncounted"

// Uncounted returns a configuration whose requests use up no rate.
func Uncounted(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	cfg.APIOptions = append(cfg.APIOptions, smithyhttp.AddHeaderValue(uncounted, "true"))
	return cfg
}

// Paths of Lambda's API (API reference).
var (
	asynchronous = regexp.MustCompile(`^/2014-11-13/functions/[^/]+/invoke-async/?$`)
	function     = regexp.MustCompile(`^/2015-03-31/functions/[^/]+$`)
	policy       = regexp.MustCompile(`^/2015-03-31/functions/[^/]+/policy$`)
)

// service is the service in the header Authorization (IAM User Guide, "Create a signed AWS
// API request").
var service = regexp.MustCompile(`Credential=[^/]+/\d+/[^/]+/([a-z0-9-]+)/`)

// exceeded returns AWS's refusal of a request beyond the account's rate, or nil.
func (r rates) exceeded(request *http.Request) *refusal {
	called := service.FindStringSubmatch(request.Header.Get("Authorization"))
	if called == nil || request.Header.Get(uncounted) != "" {
		return nil
	}
	switch called[1] {
	case "lambda":
		if limit := r.ofLambda(request); limit != nil && !limit.Allow() {
			return &refusal{http.StatusTooManyRequests, "TooManyRequestsException", "Rate exceeded"}
		}
	case "scheduler":
		if !r.ofScheduler(request).Allow() {
			return &refusal{http.StatusTooManyRequests, "ThrottlingException", "Rate exceeded"}
		}
	}
	return nil
}

// ofLambda returns the limit of a request to Lambda, or nil if it is an invocation.
func (r rates) ofLambda(request *http.Request) *rate.Limiter {
	path, get := request.URL.Path, request.Method == http.MethodGet
	switch {
	case invocation.MatchString(path), asynchronous.MatchString(path):
		return nil
	case get && function.MatchString(path):
		return r.getFunction
	case get && policy.MatchString(path):
		return r.getPolicy
	}
	return r.controlPlane
}

func (r rates) ofScheduler(request *http.Request) *rate.Limiter {
	path := strings.TrimSuffix(request.URL.Path, "/")
	switch {
	case path == "/schedules":
		return r.listSchedules
	case strings.HasPrefix(path, "/schedules/") && r.schedules[request.Method] != nil:
		return r.schedules[request.Method]
	}
	return r.otherSchedules
}
