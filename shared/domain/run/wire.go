package run

import (
	"encoding/json"
	"strconv"
	"time"

	"containertriggers/shared/contract/timestamp"
)

// MarshalJSON returns the run as a list answers it. The fields have the order of the
// contract.
func (r Run) MarshalJSON() ([]byte, error) { return json.Marshal(r.summary()) }

// Details returns the run as the API answers a single one, with its attempts.
func (r Run) Details() any {
	attempts := make([]attempt, len(r.Attempts))
	for i, a := range r.Attempts {
		attempts[i] = attempt{
			Number: r.Count - len(r.Attempts) + i + 1, Manual: a.Manual, StartedAt: timestamp.Time(a.StartedAt), Duration: seconds(a.Duration),
			HTTPStatus: status(a.HTTPStatus), Error: a.Error, RetryAfter: a.Answer.Header[RetryAfter],
			ResponseHeaders: a.Answer.Header, ResponseBody: a.Answer.Body, ResponseTruncated: a.Answer.Truncated, NextAttemptAt: moment(a.NextAt),
		}
		if attempts[i].ResponseHeaders == nil {
			attempts[i].ResponseHeaders = map[string]string{}
		}
	}
	return struct {
		summary
		Request  *Request  `json:"request"`
		Attempts []attempt `json:"attempt_details"`
	}{r.summary(), r.Request.shown(), attempts}
}

// Brief returns how the run ended, as a trigger's last_run.
func (r Run) Brief() any {
	s := r.summary()
	return struct {
		ID           string          `json:"id"`
		State        State           `json:"state"`
		TerminatedAt *timestamp.Time `json:"terminated_at"`
		HTTPStatus   *int            `json:"http_status"`
	}{s.ID, s.State, s.TerminatedAt, s.HTTPStatus}
}

// The names of the headers of an answer that a run keeps.
const (
	ContentType = "content-type"
	RetryAfter  = "retry-after"
)

type summary struct {
	ID           string          `json:"id"`
	TriggerID    string          `json:"trigger_id"`
	ContainerID  string          `json:"container_id"`
	Region       string          `json:"region"`
	Origin       Origin          `json:"origin"`
	State        State           `json:"state"`
	Reason       Reason          `json:"reason"`
	ErrorMessage string          `json:"error_message"`
	EventID      string          `json:"event_id"`
	ScheduledAt  timestamp.Time  `json:"scheduled_at"`
	StartedAt    *timestamp.Time `json:"started_at"`
	TerminatedAt *timestamp.Time `json:"terminated_at"`
	RunDuration  *string         `json:"run_duration"`
	Attempts     int             `json:"attempts"`
	HTTPStatus   *int            `json:"http_status"`
	Replayable   bool            `json:"replayable"`
	ExpiresAt    timestamp.Time  `json:"expires_at"`
}

type attempt struct {
	Number            int               `json:"number"`
	Manual            bool              `json:"manual"`
	StartedAt         timestamp.Time    `json:"started_at"`
	Duration          string            `json:"duration"`
	HTTPStatus        *int              `json:"http_status"`
	Error             string            `json:"error"`
	RetryAfter        string            `json:"retry_after"`
	ResponseHeaders   map[string]string `json:"response_headers"`
	ResponseBody      string            `json:"response_body"`
	ResponseTruncated bool              `json:"response_truncated"`
	NextAttemptAt     *timestamp.Time   `json:"next_attempt_at"`
}

func (r Run) summary() summary {
	s := summary{
		ID: r.ID(), TriggerID: r.TriggerID, ContainerID: r.ContainerID, Region: r.Region,
		Origin: r.Origin, State: r.State, Reason: r.Reason, ErrorMessage: r.Message,
		EventID: r.EventID, ScheduledAt: timestamp.Time(r.ScheduledAt), StartedAt: moment(r.StartedAt), TerminatedAt: moment(r.TerminatedAt),
		Attempts: r.Count, Replayable: r.Replayable(), ExpiresAt: timestamp.Time(r.ExpiresAt),
	}
	if n := len(r.Attempts); n > 0 {
		s.HTTPStatus = status(r.Attempts[n-1].HTTPStatus)
	}
	if !r.StartedAt.IsZero() && !r.TerminatedAt.IsZero() {
		took := seconds(r.TerminatedAt.Sub(r.StartedAt))
		s.RunDuration = &took
	}
	return s
}

// moment returns nil for the zero time.
func moment(t time.Time) *timestamp.Time {
	if t.IsZero() {
		return nil
	}
	at := timestamp.Time(t)
	return &at
}

// status returns nil if there was no answer.
func status(code int) *int {
	if code == 0 {
		return nil
	}
	return &code
}

// seconds returns a duration in seconds with three decimals, such as "0.412s".
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) + "s" }
