// Package run defines a run, which is what one event of a trigger made happen: its calls
// of the container and how they ended. It has the states of a run, its ID, its form in the
// API, and the query of a list.
package run

import (
	"encoding/base64"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"containertriggers/shared/domain/auth"
)

// Resource is the contract's name for a run, as errors give it.
const Resource = "trigger_run"

// State is the state of a run.
type State string

// The states.
const (
	// Queued means that somebody asked for the run, and that no delivery has begun.
	Queued State = "queued"
	// Running means that a delivery is calling the container, or died while it did.
	Running State = "running"
	// Retrying means that the calls of a delivery failed, and that another delivery follows.
	Retrying State = "retrying"
	// Succeeded means that the container accepted the event.
	Succeeded State = "succeeded"
	// Failed means that no further delivery follows. An operator may deliver the event again.
	Failed State = "failed"
)

// next holds the states that may follow each state. "" is that of a run that does not exist
// yet. AWS may give up an event that no delivery has claimed. A run that is queued or running
// may be queued again, because the one who should have ended it may be dead. The run of a
// message is not claimed, because its source gives the message to one delivery at a time: it
// is recorded after a call. It may go on after a failure that was taken for the last one.
var next = map[State][]State{
	"":        {Queued, Running, Retrying, Succeeded, Failed},
	Queued:    {Queued, Running, Failed},
	Running:   {Queued, Running, Retrying, Succeeded, Failed},
	Retrying:  {Queued, Running, Retrying, Succeeded, Failed},
	Succeeded: {Queued},
	Failed:    {Queued, Running, Retrying, Succeeded},
}

// States returns all states, in the order of a run's life.
func States() []State { return []State{Queued, Running, Retrying, Succeeded, Failed} }

// Before returns the states of existing runs that s may follow.
func (s State) Before() []State {
	return slices.DeleteFunc(States(), func(before State) bool { return !slices.Contains(next[before], s) })
}

// Ended reports whether nothing more happens in the state by itself.
func (s State) Ended() bool { return s == Succeeded || s == Failed }

// Origin is what caused a run.
type Origin string

// The origins: a schedule, a message of a queue or on a subject, a call of the API that asks
// for the run, or the catch-up after a pause.
const (
	Schedule Origin = "schedule"
	Message  Origin = "message"
	Manual   Origin = "manual"
	CatchUp  Origin = "catch_up"
)

// Origins returns all origins.
func Origins() []Origin { return []Origin{Schedule, Message, Manual, CatchUp} }

// Reason is the kind of a failure.
type Reason string

// The reasons. NotStarted means that AWS gave up the event before a call began.
const (
	HTTPStatus     Reason = "http_status"
	Timeout        Reason = "timeout"
	Connection     Reason = "connection"
	TLS            Reason = "tls"
	AddressRefused Reason = "address_refused"
	NotStarted     Reason = "not_started"
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{HTTPStatus, Timeout, Connection, TLS, AddressRefused, NotStarted}
}

const (
	// MaxAttempts is the number of attempts that a run keeps. If there are more, it keeps
	// the last ones.
	MaxAttempts = 20
	// MaxAnswer is the number of bytes that a failed attempt keeps of the answer's body.
	MaxAnswer = 1 << 10
	// MaxAnswerOfSuccess is that of a successful attempt. With it, the row of a run that
	// succeeds at once stays within 1 KB, which costs one write unit.
	MaxAnswerOfSuccess = 256
	// MaxAnswerHeader is the number of bytes that an attempt keeps of a header of the answer.
	MaxAnswerHeader = 128
)

const (
	// MaxBody is the number of bytes of the request's body that a failed run keeps. The row
	// of a run must stay below 400 KB (DynamoDB Developer Guide, "Quotas").
	MaxBody = 256 << 10
	// MaxBodyOfRetry is that of a run that will be retried. Its source still has the message,
	// and each attempt pays for the size of the row.
	MaxBodyOfRetry = 1 << 10
)

// FailedRetention is how long a failed run is kept, if others are not kept longer.
const FailedRetention = 14 * 24 * time.Hour

// Key identifies a run. The same event has the same key, over retries and crashes.
type Key struct {
	TriggerID string
	// Event is unique among the trigger's runs. It begins with the event's time in the
	// form of RFC 3339 in UTC, so that texts sort in the order of the events.
	Event string
}

// ID returns the run's ID in the API.
func (k Key) ID() string {
	id := uuid.MustParse(k.TriggerID) // a trigger has no other ID
	return base64.RawURLEncoding.EncodeToString(append(id[:], k.Event...))
}

// ParseID returns the key of a run's ID. It returns false if the text is no ID.
func ParseID(id string) (Key, bool) {
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(decoded) <= len(uuid.UUID{}) {
		return Key{}, false
	}
	trigger, event := uuid.UUID(decoded[:len(uuid.UUID{})]), string(decoded[len(uuid.UUID{}):])
	return Key{trigger.String(), event}, validEvent(event)
}

// maxEvent is the largest size of a sort key in DynamoDB, in bytes (Developer Guide, "Quotas").
const maxEvent = 1024

// validEvent reports whether a text has the form of [Key.Event].
func validEvent(event string) bool {
	at := event[:min(len(event), len("2006-01-02T15:04:05Z"))]
	_, err := time.Parse(time.RFC3339, at)
	return err == nil && len(event) <= maxEvent && utf8.ValidString(event)
}

// Run is what one event of a trigger made happen.
type Run struct {
	Key
	ContainerID string
	Region      string
	Owner       auth.Owner
	Origin      Origin
	State       State
	// Reason and Message say why the last attempt failed. They are empty in the state
	// Succeeded.
	Reason  Reason
	Message string
	// EventID is the CloudEvents ID that the container gets.
	EventID     string
	ScheduledAt time.Time
	// StartedAt is the time at which the last delivery began. It is zero if AWS gave up the
	// event before a delivery. TerminatedAt is zero until the run has ended.
	StartedAt, TerminatedAt time.Time
	// Count is the number of all attempts. Attempts holds at most the last MaxAttempts.
	Count    int
	Attempts []Attempt
	// Request is what the container got. It is nil for an occurrence that succeeded at once.
	Request *Request
	// ExpiresAt is the time after which the run is deleted.
	ExpiresAt time.Time
}

// Replayable reports whether the run has ended and its event can be sent again. It cannot if
// its payload was too large to be kept.
func (r Run) Replayable() bool {
	return r.State.Ended() && (r.Request == nil || !r.Request.Truncated)
}

// Attempt is one call of the container.
type Attempt struct {
	// Manual is true if a caller of the API asked for the attempt.
	Manual    bool
	StartedAt time.Time
	Duration  time.Duration
	// HTTPStatus is 0 if there was no answer.
	HTTPStatus int
	// Reason and Error say why the call failed. They are empty if it succeeded.
	Reason Reason
	Error  string
	Answer Answer
	// NextAt is the time of the next attempt of the same delivery. It is zero if none follows.
	NextAt time.Time
}

// Answer is the part of a container's answer that a run keeps.
type Answer struct {
	// Header has Content-Type and Retry-After, if the container sent them.
	Header map[string]string
	Body   string
	// Truncated is true if the body was longer.
	Truncated bool
}

// Truncate returns the answer with at most that many bytes of the body.
func (a Answer) Truncate(most int) Answer {
	if len(a.Body) > most {
		a.Body, a.Truncated = Cut(a.Body, most), true
	}
	return a
}
