// Package trigger is the domain of triggers. It creates and updates triggers from request
// bodies and validates every field. It depends neither on AWS nor on a store.
package trigger

import (
	"time"

	"containertriggers/shared/domain/auth"
)

// Resource is the contract's name for a trigger, as errors give it.
const Resource = "trigger"

// Trigger is a rule: for each event of a source, send a request to a container.
type Trigger struct {
	ID     string
	Region string
	auth.Owner
	// Domain is the deployment's domain, for the srn of an answer. AnsweredAt is the time of
	// the answer, which has the next run after it. Neither is stored.
	Domain     string
	AnsweredAt time.Time
	// LastRun is in the answer of a single trigger, and nil in others. It is not stored.
	LastRun *LastRun
	// ContainerID never changes.
	ContainerID string

	Name        string
	Description string
	Tags        []string
	Destination Destination
	Delivery    Delivery

	// Exactly one of Cron, SQS and NATS is set. An update cannot set another one.
	Cron *Cron
	SQS  *SQS
	NATS *NATS
	// SealedSecret is the source's secret (an SQS secret key, NATS credentials) as ciphertext.
	// It is empty if the source has no secret.
	SealedSecret []byte

	// Relay is the shard of the relay that subscribes to the source. It is empty if no relay
	// should. RelayGeneration is the generation to which the relay should subscribe.
	Relay           string
	RelayGeneration int64
	// Verified identifies the schedules that sweep found to match the trigger last. It is empty
	// if sweep has not looked yet.
	Verified string

	// PausedAt is the time since which the trigger is paused, or zero. PauseReason is
	// the reason that the caller gave.
	PausedAt    time.Time
	PauseReason string

	// LastChange is the last change through the API.
	LastChange auth.Change

	Status Status
	// ErrorMessage says in the user's terms why the trigger is in [Error]. If the trigger is
	// [Ready], it says why the last call failed. It is empty if there is no error.
	ErrorMessage string

	CreatedAt time.Time
	// UpdatedAt grows with each change of the trigger, and when it becomes [Ready] or [Error].
	UpdatedAt time.Time

	// Generation grows with each effective update and with the deletion.
	// ObservedGeneration is the last generation that the source was made to match.
	Generation         int64
	ObservedGeneration int64
}

// Status says whether the source matches the trigger.
type Status string

// The statuses that the service gives. The contract's enum has more (locking, locked,
// upgrading, unknown_status), but no trigger has them.
const (
	Creating Status = "creating"
	Ready    Status = "ready"
	Updating Status = "updating"
	Deleting Status = "deleting"
	Error    Status = "error"
)

// Transient reports whether the service will change the status on its own.
func (s Status) Transient() bool {
	return s == Creating || s == Updating || s == Deleting
}

// Source is the kind of events that a trigger reacts to.
type Source string

// The sources.
const (
	SourceCron Source = "cron"
	SourceSQS  Source = "sqs"
	SourceNATS Source = "nats"
)

// Source returns the kind of the config that is set.
func (t Trigger) Source() Source {
	switch {
	case t.Cron != nil:
		return SourceCron
	case t.SQS != nil:
		return SourceSQS
	default:
		return SourceNATS
	}
}

// Path returns the trigger's path in the API. The path identifies the trigger in the
// events that containers and other consumers receive.
func (t Trigger) Path() string {
	return "/containers/v1/regions/" + t.Region + "/triggers/" + t.ID
}

// Location returns the region that the trigger is in and its owner.
func (t Trigger) Location() (region string, owner auth.Owner) {
	return t.Region, t.Owner
}

// CurrentGeneration returns the trigger's generation.
func (t Trigger) CurrentGeneration() int64 { return t.Generation }

// WithSecret returns the trigger with the secret of its source as ciphertext.
func (t Trigger) WithSecret(sealed []byte) Trigger {
	t.SealedSecret = sealed
	return t
}

// ChangedBy returns the trigger with the change as its last one.
func (t Trigger) ChangedBy(change auth.Change) Trigger {
	t.LastChange = change
	return t
}

// ResourceID returns the trigger's ID.
func (t Trigger) ResourceID() string { return t.ID }

// Answered returns the trigger as a deployment of that domain answers it at a time.
func (t Trigger) Answered(domain string, at time.Time) Trigger {
	t.Domain, t.AnsweredAt = domain, at
	return t
}

// Settled reports whether the source was made to match the trigger's generation.
func (t Trigger) Settled() bool {
	return t.ObservedGeneration == t.Generation
}

// Destination is the method and path of the request to the container.
type Destination struct {
	// HTTPPath begins with "/" and may contain a query string.
	HTTPPath string `json:"http_path"`
	// HTTPMethod is lower case: get, post, put, patch or delete.
	HTTPMethod string `json:"http_method"`
}

// Cron is the source of events at scheduled times.
type Cron struct {
	// Schedule is a UNIX cron schedule, as package cron describes it.
	Schedule string `json:"schedule"`
	// Timezone is a name of the tz database.
	Timezone string `json:"timezone"`
	// Body is the body of the request to the container.
	Body string `json:"body"`
	// Headers are stored and answered as the user gave them. The request leaves out headers
	// that belong to the connection.
	Headers map[string]string `json:"headers"`
}

// SQS is the source of the messages in a queue.
type SQS struct {
	// Region is a region of this API, not an AWS region.
	Region      string `json:"region"`
	Endpoint    string `json:"endpoint"`
	AccessKeyID string `json:"access_key_id"`
	QueueURL    string `json:"queue_url"`
}

// NATS is the source of the messages on a subject.
type NATS struct {
	ServerURLs []string `json:"server_urls"`
	// Subject may contain the wildcards * and >.
	Subject string `json:"subject"`
}
