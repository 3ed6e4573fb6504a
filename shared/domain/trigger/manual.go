package trigger

import (
	"strings"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/run"
)

// MaxWait is the longest time that a caller of the API may wait for a run, and the default.
const MaxWait = 20 * time.Second

// Request returns the request that the trigger makes for its occurrences. The trigger of
// another source has neither body nor headers of its own.
func (t Trigger) Request() run.Request {
	r := run.Request{HTTPMethod: strings.ToUpper(t.Destination.HTTPMethod), HTTPPath: t.Destination.HTTPPath, Headers: map[string]string{}}
	if t.Cron != nil {
		r.Body = t.Cron.Body
		if t.Cron.Headers != nil {
			r.Headers = t.Cron.Headers
		}
	}
	return r
}

// NewRun returns the run that a caller asks for, with its request, and how long the caller
// wants to wait for its end. The body's fields replace those of the trigger's request. The
// ID distinguishes runs of one second. The error names every fault of the body.
func (t Trigger) NewRun(body []byte, id string, now time.Time) (its run.Run, wait time.Duration, err error) {
	var faults apierr.Arguments
	object := request.Parse(body, &faults)
	object.Only("body", "headers", "http_path", "http_method", "wait")
	r := t.Request()
	if given := object.String("body"); given != nil {
		r.Body = checkBody(&faults, "body", *given)
	}
	if given := object.StringMap("headers"); given != nil {
		r.Headers = checkHeaders(&faults, "headers", *given)
	}
	if given := object.String("http_path"); given != nil {
		r.HTTPPath = checkPath(&faults, "http_path", *given)
	}
	if given := object.Enum("http_method", methods...); given != nil {
		r.HTTPMethod = strings.ToUpper(*given)
	}
	wait = waitOf(object, &faults)
	now = timestamp.Truncate(now)
	event := now.Format(time.RFC3339) + "/" + id
	return run.Run{
		Key:         run.Key{TriggerID: t.ID, Event: event},
		ContainerID: t.ContainerID, Region: t.Region, Owner: t.Owner,
		Origin: run.Manual, EventID: t.ID + "/" + event, ScheduledAt: now, Request: &r,
	}, wait, faults.Err()
}

// ParseReplay returns how long the caller of a replay wants to wait for its end. The error
// names every fault of the body.
func ParseReplay(body []byte) (wait time.Duration, err error) {
	var faults apierr.Arguments
	object := request.Parse(body, &faults)
	object.Only("wait")
	wait = waitOf(object, &faults)
	return wait, faults.Err()
}

func waitOf(object request.Object, faults *apierr.Arguments) time.Duration {
	if given := object.String("wait"); given != nil {
		return request.Duration(faults, "wait", *given, 0, MaxWait)
	}
	return MaxWait
}
