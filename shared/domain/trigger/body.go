package trigger

import (
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/contract/secret"
)

// change has the fields of a request body. A field is nil if the body does not give it.
type change struct {
	name, description, containerID *string
	tags                           *[]string
	httpPath, httpMethod           *string
	cron                           *cronChange
	sqs                            *sqsChange
	nats                           *natsChange
	// paused is for a new trigger alone. An update must not resume what an operator stopped.
	paused   *bool
	delivery *deliveryChange
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

// decode parses a body.
func decode(data []byte, faults *apierr.Arguments) change {
	object := request.Parse(data, faults)
	c := change{
		name:        object.String("name"),
		description: object.String("description"),
		containerID: object.String("container_id"),
		tags:        object.Strings("tags"),
		paused:      object.Bool("paused"),
		delivery:    decodeDelivery(object),
	}
	if destination, ok := object.Object("destination_config"); ok {
		c.httpPath = unlessEmpty(destination.String("http_path"))
		c.httpMethod = destination.Enum("http_method", methods...)
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

// unlessEmpty returns nil for "". Stock clients send "" if their user did not set the
// field, so it is for strings that are never valid if they are empty.
func unlessEmpty(text *string) *string {
	if text != nil && *text == "" {
		return nil
	}
	return text
}

// sources returns the names of the source configs that the body gives.
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

// secret returns the secret in the source's config, or nil if there is none.
func (c change) secret() *secret.Text {
	switch {
	case c.sqs != nil:
		return (*secret.Text)(c.sqs.secretAccessKey)
	case c.nats != nil:
		return (*secret.Text)(c.nats.credentials)
	}
	return nil
}
