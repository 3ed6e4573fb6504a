// Package trigger is the domain: what a trigger is, which values it may have,
// and what an update does to it. It knows nothing of AWS or of any store.
package trigger

import (
	"time"

	"containertriggers/shared/container"
)

// Resource is the contract's name for a trigger, as errors give it.
const Resource = "trigger"

// Trigger invokes a container whenever its source says so.
type Trigger struct {
	ID     string
	Region string
	container.Owner
	// ContainerID never changes.
	ContainerID string

	Name        string
	Description string
	Tags        []string
	Destination Destination

	// Exactly one of Cron, SQS and NATS is set, and which one never changes.
	Cron *Cron
	SQS  *SQS
	NATS *NATS
	// SealedSecret is the source's secret (an SQS secret key, NATS credentials)
	// as ciphertext, empty where there is none.
	SealedSecret []byte

	// Relay is the shard of the relay that holds the source's subscription, empty
	// where none is to; RelayGeneration the generation that it is to hold.
	Relay           string
	RelayGeneration int64

	Status Status
	// ErrorMessage tells, in the user's terms, why the trigger is in [Error] or,
	// while it is [Ready], how the last call failed. Empty when all is well.
	ErrorMessage string

	CreatedAt time.Time
	// UpdatedAt moves, strictly, with each change of the trigger and when it
	// becomes [Ready] or [Error].
	UpdatedAt time.Time

	// Generation counts what was asked of the trigger: it grows with each
	// effective update and with the deletion. ObservedGeneration is the last
	// generation that its source was made to match.
	Generation         int64
	ObservedGeneration int64
}

// Status is where a trigger stands between what is wanted and what is there.
type Status string

// The statuses that the service gives. The contract's enum has more (locking,
// locked, upgrading, unknown_status), which never occur here.
const (
	Creating Status = "creating"
	Ready    Status = "ready"
	Updating Status = "updating"
	Deleting Status = "deleting"
	Error    Status = "error"
)

// Transient says whether the status will change without the user's doing.
func (s Status) Transient() bool {
	return s == Creating || s == Updating || s == Deleting
}

// Source is what kind of event sets a trigger off.
type Source string

// The sources.
const (
	SourceCron Source = "cron"
	SourceSQS  Source = "sqs"
	SourceNATS Source = "nats"
)

// Source tells which of the source configs is set.
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

// Path is the trigger's place in the API, which identifies it to containers
// and event consumers.
func (t Trigger) Path() string {
	return "/containers/v1/regions/" + t.Region + "/triggers/" + t.ID
}

// Place is the region that the trigger is in, and to whom it belongs.
func (t Trigger) Place() (region string, owner container.Owner) {
	return t.Region, t.Owner
}

// Revision is the trigger's generation.
func (t Trigger) Revision() int64 { return t.Generation }

// WithSecret is the trigger with that secret of its source, as ciphertext.
func (t Trigger) WithSecret(sealed []byte) Trigger {
	t.SealedSecret = sealed
	return t
}

// Settled says whether the source matches the trigger's present generation.
func (t Trigger) Settled() bool {
	return t.ObservedGeneration == t.Generation
}

// Destination is the request that the container gets.
type Destination struct {
	// HTTPPath begins with "/" and may hold a query string.
	HTTPPath string `json:"http_path"`
	// HTTPMethod is lower case: get, post, put, patch or delete.
	HTTPMethod string `json:"http_method"`
}

// Cron sets a trigger off by the clock.
type Cron struct {
	// Schedule is a UNIX cron schedule; see package cron.
	Schedule string `json:"schedule"`
	// Timezone is a name of the tz database.
	Timezone string `json:"timezone"`
	// Body is sent to the container.
	Body string `json:"body"`
	// Headers are kept as they were given. Those that belong to the connection
	// are not sent.
	Headers map[string]string `json:"headers"`
}

// SQS sets a trigger off by the messages of a queue.
type SQS struct {
	// Region is a region of the API, not of AWS.
	Region      string `json:"region"`
	Endpoint    string `json:"endpoint"`
	AccessKeyID string `json:"access_key_id"`
	QueueURL    string `json:"queue_url"`
}

// NATS sets a trigger off by the messages on a subject.
type NATS struct {
	ServerURLs []string `json:"server_urls"`
	// Subject may hold the wildcards * and >.
	Subject string `json:"subject"`
}
