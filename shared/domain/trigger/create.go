package trigger

import (
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/contract/timestamp"
)

// Create returns the trigger that a body describes, and the secret of its source or nil.
// The caller of Create must set the owner, which is the container's, and must seal the
// secret. The error is an *apierr.Error that names every fault of the body.
func Create(data []byte, id, region string, now time.Time) (Trigger, *secret.Text, error) {
	var faults apierr.Arguments
	change := decode(data, &faults)

	now = timestamp.Truncate(now)
	t := Trigger{
		ID: id, Region: region, Tags: []string{},
		Destination: Destination{HTTPPath: defaultPath, HTTPMethod: defaultMethod},
		Status:      Creating, CreatedAt: now, UpdatedAt: now, Generation: 1,
	}
	if change.paused != nil && *change.paused {
		t.PausedAt = now
	}
	request.Required(&faults, "name", change.name)
	request.Required(&faults, "container_id", change.containerID)
	t.describe(change, &faults)
	if change.containerID != nil {
		t.ContainerID = request.UUID(&faults, "container_id", *change.containerID)
	}

	sources := change.sources()
	switch len(sources) {
	case 0:
		faults.Add("cron_config", apierr.Required, "is required unless sqs_config or nats_config is given")
	case 1:
	default:
		for _, name := range sources {
			faults.Add(name, apierr.Constraint, "must be the only one of cron_config, sqs_config and nats_config")
		}
	}
	if c := change.cron; c != nil {
		t.Cron = &Cron{Timezone: defaultTimezone, Headers: map[string]string{}}
		request.Required(&faults, "cron_config.schedule", c.schedule)
		t.Cron.apply(*c, &faults)
	}
	if c := change.sqs; c != nil {
		t.SQS = &SQS{Region: region}
		request.Required(&faults, "sqs_config.endpoint", c.endpoint)
		request.Required(&faults, "sqs_config.access_key_id", c.accessKeyID)
		request.Required(&faults, "sqs_config.secret_access_key", c.secretAccessKey)
		request.Required(&faults, "sqs_config.queue_url", c.queueURL)
		t.SQS.apply(*c, region, &faults)
	}
	if c := change.nats; c != nil {
		t.NATS = &NATS{}
		if c.serverURLs == nil {
			faults.Require("nats_config.server_urls")
		}
		request.Required(&faults, "nats_config.subject", c.subject)
		t.NATS.apply(*c, &faults)
	}
	t.setDelivery(change.delivery)
	return t, change.secret(), faults.Err()
}
