package trigger

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/contract/timestamp"
)

// Update returns t with the changes that the body asks for, and the secret that the body
// gives or nil. If the body changes nothing, it returns t with the same generation. If the
// body changes a value of the source's config, the trigger becomes [Updating]. The error is
// an *apierr.Error. It names every fault of the body, or says that t is being deleted.
func (t Trigger) Update(data []byte, now time.Time) (Trigger, *secret.Text, error) {
	if t.Status == Deleting {
		return t, nil, apierr.TransientState(Resource, t.ID, string(t.Status))
	}
	var faults apierr.Arguments
	change := decode(data, &faults)

	updated := t.clone()
	updated.describe(change, &faults)
	if change.containerID != nil && request.UUID(&faults, "container_id", *change.containerID) != t.ContainerID {
		faults.Add("container_id", apierr.Constraint, "cannot be changed; create another trigger instead")
	}
	own := string(t.Source()) + "_config"
	for _, name := range change.sources() {
		if name != own {
			faults.Add(name, apierr.Constraint, "must be left out, because this trigger has a "+own+" and its source cannot be changed")
		}
	}
	updated.setDelivery(change.delivery)
	if c := change.cron; c != nil && updated.Cron != nil {
		updated.Cron.apply(*c, &faults)
	}
	if c := change.sqs; c != nil && updated.SQS != nil {
		updated.SQS.apply(*c, t.Region, &faults)
	}
	if c := change.nats; c != nil && updated.NATS != nil {
		if c.serverURLs != nil && len(*c.serverURLs) == 0 {
			c.serverURLs = nil // the Python SDK sends an empty list if the user gave none
		}
		updated.NATS.apply(*c, &faults)
	}
	if err := faults.Err(); err != nil {
		return t, nil, err
	}

	given := change.secret()
	if given != nil && *given == "" && len(t.SealedSecret) == 0 {
		given = nil // removing a secret that is not there changes nothing
	}
	// A secret cannot be compared with its ciphertext, so giving one is always a change.
	reconfigured := given != nil || !reflect.DeepEqual([]any{t.Cron, t.SQS, t.NATS}, []any{updated.Cron, updated.SQS, updated.NATS})
	if !reconfigured && reflect.DeepEqual(t, updated) {
		return t, nil, nil
	}
	if reconfigured {
		updated.Status = Updating
	}
	updated.Generation++
	updated.UpdatedAt = timestamp.Next(t.UpdatedAt, now)
	return updated, given, nil
}

// describe sets the fields that the body gives outside of a source's config.
func (t *Trigger) describe(c change, faults *apierr.Arguments) {
	if c.name != nil {
		t.Name = request.Name(faults, "name", *c.name)
	}
	if c.description != nil {
		t.Description = request.Description(faults, "description", *c.description)
	}
	if c.tags != nil {
		t.Tags = request.Tags(faults, "tags", *c.tags)
		checkDeliveryTags(faults, "tags", t.Tags)
	}
	if c.httpPath != nil {
		t.Destination.HTTPPath = checkPath(faults, "destination_config.http_path", *c.httpPath)
	}
	if c.httpMethod != nil {
		t.Destination.HTTPMethod = *c.httpMethod
	}
}

// apply sets the fields that the body gives.
func (c *Cron) apply(change cronChange, faults *apierr.Arguments) {
	if change.schedule != nil {
		c.Schedule = checkSchedule(faults, "cron_config.schedule", *change.schedule)
	}
	if change.timezone != nil {
		c.Timezone = checkTimezone(faults, "cron_config.timezone", *change.timezone)
	}
	if change.body != nil {
		c.Body = checkBody(faults, "cron_config.body", *change.body)
	}
	if change.headers != nil {
		c.Headers = checkHeaders(faults, "cron_config.headers", *change.headers)
	}
}

// apply sets the fields that the body gives. An empty region becomes the trigger's region.
func (s *SQS) apply(change sqsChange, region string, faults *apierr.Arguments) {
	if change.region != nil {
		s.Region = checkRegion(faults, "sqs_config.region", *change.region, region)
	}
	if change.endpoint != nil {
		s.Endpoint = request.URL(faults, "sqs_config.endpoint", *change.endpoint, "http", "https")
	}
	if change.accessKeyID != nil {
		s.AccessKeyID = request.Text(faults, "sqs_config.access_key_id", *change.accessKeyID, maxKeyLength)
	}
	if change.secretAccessKey != nil {
		request.Text(faults, "sqs_config.secret_access_key", *change.secretAccessKey, maxKeyLength)
	}
	if change.queueURL != nil {
		s.QueueURL = request.URL(faults, "sqs_config.queue_url", *change.queueURL, "http", "https")
	}
}

// apply sets the fields that the body gives.
func (n *NATS) apply(change natsChange, faults *apierr.Arguments) {
	if change.serverURLs != nil {
		n.ServerURLs = checkServers(faults, "nats_config.server_urls", *change.serverURLs)
	}
	if change.subject != nil {
		n.Subject = checkSubject(faults, "nats_config.subject", *change.subject)
	}
	if change.credentials != nil {
		checkCredentials(faults, "nats_config.credentials_file_content", *change.credentials)
	}
}

// clone returns a copy of t. An update of the copy leaves t unchanged.
func (t Trigger) clone() Trigger {
	t.Tags = slices.Clone(t.Tags)
	if t.Cron != nil {
		cron := *t.Cron
		cron.Headers = maps.Clone(cron.Headers)
		t.Cron = &cron
	}
	if t.SQS != nil {
		sqs := *t.SQS
		t.SQS = &sqs
	}
	if t.NATS != nil {
		nats := *t.NATS
		nats.ServerURLs = slices.Clone(nats.ServerURLs)
		t.NATS = &nats
	}
	return t
}
