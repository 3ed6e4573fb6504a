package trigger

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"containertriggers/shared/body"
	"containertriggers/shared/check"
	"containertriggers/shared/fault"
	"containertriggers/shared/secret"
	"containertriggers/shared/wiretime"
)

// Create makes a trigger of a request's body. The trigger still lacks its owner,
// which is its container's, and its secret, which is returned apart to be
// sealed. The error is a *fault.Error that names every fault of the body.
func Create(data []byte, id, region string, now time.Time) (Trigger, *secret.Text, error) {
	var faults fault.Arguments
	change := decode(data, &faults)

	now = wiretime.Precise(now)
	t := Trigger{
		ID: id, Region: region, Tags: []string{},
		Destination: Destination{HTTPPath: defaultPath, HTTPMethod: defaultMethod},
		Status:      Creating, CreatedAt: now, UpdatedAt: now, Generation: 1,
	}
	check.Required(&faults, "name", change.name)
	check.Required(&faults, "container_id", change.containerID)
	t.describe(change, &faults)
	if change.containerID != nil {
		t.ContainerID = check.UUID(&faults, "container_id", *change.containerID)
	}

	sources := change.sources()
	switch len(sources) {
	case 0:
		faults.Add("cron_config", fault.Required, "exactly one of cron_config, sqs_config and nats_config is required")
	case 1:
	default:
		for _, name := range sources {
			faults.Add(name, fault.Constraint, "exactly one of cron_config, sqs_config and nats_config may be set")
		}
	}
	if c := change.cron; c != nil {
		t.Cron = &Cron{Timezone: defaultTimezone, Headers: map[string]string{}}
		check.Required(&faults, "cron_config.schedule", c.schedule)
		t.Cron.apply(*c, &faults)
	}
	if c := change.sqs; c != nil {
		t.SQS = &SQS{Region: region}
		check.Required(&faults, "sqs_config.endpoint", c.endpoint)
		check.Required(&faults, "sqs_config.access_key_id", c.accessKeyID)
		check.Required(&faults, "sqs_config.secret_access_key", c.secretAccessKey)
		check.Required(&faults, "sqs_config.queue_url", c.queueURL)
		t.SQS.apply(*c, region, &faults)
	}
	if c := change.nats; c != nil {
		t.NATS = &NATS{}
		if c.serverURLs == nil {
			faults.Add("nats_config.server_urls", fault.Required, "is required")
		}
		check.Required(&faults, "nats_config.subject", c.subject)
		t.NATS.apply(*c, &faults)
	}
	return t, change.secret(), faults.Err()
}

// Update is t with what the body asks for. A body that changes nothing gives
// back t as it is, with its generation. Changing a value of the source's config
// makes the trigger [Updating]; its name, description, tags and destination do
// not. The secret is that of the body, nil where it has none. The error is a
// *fault.Error: every fault of the body, or that a trigger being deleted cannot
// be changed.
func (t Trigger) Update(data []byte, now time.Time) (Trigger, *secret.Text, error) {
	if t.Status == Deleting {
		return t, nil, fault.TransientState(Resource, t.ID, string(t.Status))
	}
	var faults fault.Arguments
	change := decode(data, &faults)

	updated := t.clone()
	updated.describe(change, &faults)
	if change.containerID != nil && check.UUID(&faults, "container_id", *change.containerID) != t.ContainerID {
		faults.Add("container_id", fault.Constraint, "cannot be changed: create another trigger")
	}
	own := string(t.Source()) + "_config"
	for _, name := range change.sources() {
		if name != own {
			faults.Add(name, fault.Constraint, "this trigger has a "+own+", and its source cannot be changed")
		}
	}
	if c := change.cron; c != nil && updated.Cron != nil {
		updated.Cron.apply(*c, &faults)
	}
	if c := change.sqs; c != nil && updated.SQS != nil {
		updated.SQS.apply(*c, t.Region, &faults)
	}
	if c := change.nats; c != nil && updated.NATS != nil {
		updated.NATS.apply(*c, &faults)
	}
	if err := faults.Err(); err != nil {
		return t, nil, err
	}

	given := change.secret()
	if given != nil && *given == "" && len(t.SealedSecret) == 0 {
		given = nil // there was none, and there is to be none
	}
	// A secret cannot be compared with the sealed one, so giving one is a change.
	reconfigured := given != nil || !reflect.DeepEqual([]any{t.Cron, t.SQS, t.NATS}, []any{updated.Cron, updated.SQS, updated.NATS})
	if !reconfigured && reflect.DeepEqual(t, updated) {
		return t, nil, nil
	}
	if reconfigured {
		updated.Status = Updating
	}
	updated.Generation++
	updated.UpdatedAt = wiretime.After(t.UpdatedAt, now)
	return updated, given, nil
}

// describe applies the fields that concern no source.
func (t *Trigger) describe(c change, faults *fault.Arguments) {
	if c.name != nil {
		t.Name = check.Name(faults, "name", *c.name)
	}
	if c.description != nil {
		t.Description = check.Description(faults, "description", *c.description)
	}
	if c.tags != nil {
		t.Tags = check.Tags(faults, "tags", *c.tags)
	}
	if c.httpPath != nil {
		t.Destination.HTTPPath = checkPath(faults, "destination_config.http_path", *c.httpPath)
	}
	if c.httpMethod != nil {
		t.Destination.HTTPMethod = checkMethod(faults, "destination_config.http_method", *c.httpMethod)
	}
}

func (c *Cron) apply(change cronChange, faults *fault.Arguments) {
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

func (s *SQS) apply(change sqsChange, region string, faults *fault.Arguments) {
	if change.region != nil {
		s.Region = checkRegion(faults, "sqs_config.region", *change.region, region)
	}
	if change.endpoint != nil {
		s.Endpoint = check.URL(faults, "sqs_config.endpoint", *change.endpoint, "http", "https")
	}
	if change.accessKeyID != nil {
		s.AccessKeyID = check.Text(faults, "sqs_config.access_key_id", *change.accessKeyID, maxKeyLength)
	}
	if change.secretAccessKey != nil {
		check.Text(faults, "sqs_config.secret_access_key", *change.secretAccessKey, maxKeyLength)
	}
	if change.queueURL != nil {
		s.QueueURL = check.URL(faults, "sqs_config.queue_url", *change.queueURL, "http", "https")
	}
}

func (n *NATS) apply(change natsChange, faults *fault.Arguments) {
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

// clone copies what an update may change in place.
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

// change is what a request's body says; nil is what it leaves alone.
type change struct {
	name, description, containerID *string
	tags                           *[]string
	httpPath, httpMethod           *string
	cron                           *cronChange
	sqs                            *sqsChange
	nats                           *natsChange
}

type cronChange struct {
	schedule, timezone, body *string
	headers                  *map[string]string
}

type sqsChange struct {
	region, endpoint, accessKeyID, secretAccessKey, queueURL *string
}

type natsChange struct {
	serverURLs           *[]string
	subject, credentials *string
}

func decode(data []byte, faults *fault.Arguments) change {
	object := body.Parse(data, faults)
	c := change{
		name:        object.String("name"),
		description: object.String("description"),
		containerID: object.String("container_id"),
		tags:        object.Strings("tags"),
	}
	if destination, ok := object.Object("destination_config"); ok {
		c.httpPath = destination.String("http_path")
		c.httpMethod = destination.String("http_method")
	}
	if cron, ok := object.Object("cron_config"); ok {
		c.cron = &cronChange{
			schedule: cron.String("schedule"), timezone: cron.String("timezone"),
			body: cron.String("body"), headers: cron.StringMap("headers"),
		}
	}
	if sqs, ok := object.Object("sqs_config"); ok {
		c.sqs = &sqsChange{
			region: sqs.String("region"), endpoint: sqs.String("endpoint"),
			accessKeyID: sqs.String("access_key_id"), secretAccessKey: sqs.String("secret_access_key"),
			queueURL: sqs.String("queue_url"),
		}
	}
	if nats, ok := object.Object("nats_config"); ok {
		c.nats = &natsChange{
			serverURLs: nats.Strings("server_urls"), subject: nats.String("subject"),
			credentials: nats.String("credentials_file_content"),
		}
	}
	return c
}

// sources names the source configs that the body sets.
func (c change) sources() []string {
	var names []string
	if c.cron != nil {
		names = append(names, "cron_config")
	}
	if c.sqs != nil {
		names = append(names, "sqs_config")
	}
	if c.nats != nil {
		names = append(names, "nats_config")
	}
	return names
}

func (c change) secret() *secret.Text {
	switch {
	case c.sqs != nil:
		return (*secret.Text)(c.sqs.secretAccessKey)
	case c.nats != nil:
		return (*secret.Text)(c.nats.credentials)
	}
	return nil
}
