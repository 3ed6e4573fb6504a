// Package container is the domain of what triggers invoke: HTTP endpoints that
// run somewhere else, of which the service keeps a registry.
package container

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"containertriggers/shared/body"
	"containertriggers/shared/check"
	"containertriggers/shared/fault"
	"containertriggers/shared/secret"
	"containertriggers/shared/wiretime"
)

// Resource is the contract's name for a container, as errors give it.
const Resource = "container"

// Owner is to whom a container belongs, and with it its triggers.
type Owner struct {
	OrganizationID string
	ProjectID      string
	// NamespaceID groups the containers of a project; empty where its creator
	// gave none.
	NamespaceID string
}

// Container is an HTTP endpoint that triggers invoke.
type Container struct {
	ID     string
	Region string
	Owner

	Name        string
	Description string
	Tags        []string
	Privacy     Privacy
	// PublicEndpoint is the URL that a trigger's path is added to.
	PublicEndpoint string
	// Timeout is how long a call may take: 1 s to [MaxTimeout].
	Timeout time.Duration
	// SealedToken is the token of a private container as ciphertext; empty
	// where it has none.
	SealedToken []byte

	Status    Status
	CreatedAt time.Time
	UpdatedAt time.Time
	// Generation grows with each effective update and with the deletion.
	Generation int64
}

// Place is the region that the container is in, and to whom it belongs.
func (c Container) Place() (region string, owner Owner) {
	return c.Region, c.Owner
}

// Revision is the container's generation.
func (c Container) Revision() int64 { return c.Generation }

// WithSecret is the container with that token, as ciphertext.
func (c Container) WithSecret(sealed []byte) Container {
	c.SealedToken = sealed
	return c
}

// Status is ready until the container is being deleted.
type Status string

// The statuses that the service gives.
const (
	Ready    Status = "ready"
	Deleting Status = "deleting"
)

// Privacy says whether a container wants a token.
type Privacy string

// The privacies.
const (
	Public  Privacy = "public"
	Private Privacy = "private"
)

// DefaultTimeout is how long a call may take where the container does not say.
const DefaultTimeout = 300 * time.Second

// MaxTimeout is the longest that a call may take: a Lambda function runs for
// 900 s at most, and needs some of it to record the outcome.
const MaxTimeout = 840 * time.Second

const (
	// maxToken is in bytes; it stays below the 4,096 that KMS encrypts in one call.
	maxToken = 2048
	// maxTimeoutText bounds the text of a duration.
	maxTimeoutText = 32
)

// Rules are what a deployment lets its containers be.
type Rules struct {
	// AllowHTTP lets endpoints be http:// as well as https://.
	AllowHTTP bool
}

func (r Rules) schemes() []string {
	if r.AllowHTTP {
		return []string{"https", "http"}
	}
	return []string{"https"}
}

// Create makes a container of a request's body. OrganizationID and ProjectID
// are left empty where the body does not give them: they are the caller's then.
// The token, nil where there is none, is returned apart to be sealed. The error
// is a *fault.Error that names every fault of the body.
func Create(data []byte, id, region string, rules Rules, now time.Time) (Container, *secret.Text, error) {
	var faults fault.Arguments
	object := body.Parse(data, &faults)

	now = wiretime.Precise(now)
	c := Container{
		ID: id, Region: region, Tags: []string{}, Privacy: Public, Timeout: DefaultTimeout,
		Status: Ready, CreatedAt: now, UpdatedAt: now, Generation: 1,
	}
	for argument, field := range map[string]*string{
		"organization_id": &c.OrganizationID, "project_id": &c.ProjectID, "namespace_id": &c.NamespaceID,
	} {
		if given := object.String(argument); given != nil && *given != "" {
			*field = check.UUID(&faults, argument, *given)
		}
	}
	check.Required(&faults, "name", object.String("name"))
	check.Required(&faults, "public_endpoint", object.String("public_endpoint"))
	token := c.apply(object, rules, &faults)
	return c, token, faults.Err()
}

// Update is c with what the body asks for; a body that changes nothing gives c
// back with its generation. The token is that of the body, nil where it has
// none. The error is a *fault.Error: every fault of the body, or that a
// container being deleted cannot be changed.
func (c Container) Update(data []byte, rules Rules, now time.Time) (Container, *secret.Text, error) {
	if c.Status == Deleting {
		return c, nil, fault.TransientState(Resource, c.ID, string(c.Status))
	}
	var faults fault.Arguments
	object := body.Parse(data, &faults)

	updated := c
	updated.Tags = slices.Clone(c.Tags)
	for argument, own := range map[string]string{
		"organization_id": c.OrganizationID, "project_id": c.ProjectID, "namespace_id": c.NamespaceID,
	} {
		if given := object.String(argument); given != nil && *given != own {
			faults.Add(argument, fault.Constraint, "cannot be changed: create another container")
		}
	}
	token := updated.apply(object, rules, &faults)
	if token == nil && len(c.SealedToken) > 0 && origin(c.PublicEndpoint) != origin(updated.PublicEndpoint) {
		// Else who may change the endpoint could have the token sent to himself.
		faults.Add("invoke_token", fault.Required, "must be given again where public_endpoint becomes another host's")
	}
	if err := faults.Err(); err != nil {
		return c, nil, err
	}
	if token == nil && reflect.DeepEqual(c, updated) {
		return c, nil, nil
	}
	updated.Generation++
	updated.UpdatedAt = wiretime.After(c.UpdatedAt, now)
	return updated, token, nil
}

// origin is whose server an endpoint is at.
func origin(endpoint string) string {
	parsed, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return parsed.Scheme + "://" + strings.ToLower(parsed.Host)
}

// apply sets the fields that both a create and an update may give.
func (c *Container) apply(object body.Object, rules Rules, faults *fault.Arguments) (token *secret.Text) {
	if name := object.String("name"); name != nil {
		c.Name = check.Name(faults, "name", *name)
	}
	if description := object.String("description"); description != nil {
		c.Description = check.Description(faults, "description", *description)
	}
	if tags := object.Strings("tags"); tags != nil {
		c.Tags = check.Tags(faults, "tags", *tags)
	}
	if endpoint := object.String("public_endpoint"); endpoint != nil {
		c.PublicEndpoint = checkEndpoint(faults, *endpoint, rules)
	}
	if privacy := object.String("privacy"); privacy != nil {
		c.Privacy = checkPrivacy(faults, *privacy)
	}
	if timeout := object.String("timeout"); timeout != nil {
		c.Timeout = checkTimeout(faults, *timeout)
	}
	token = (*secret.Text)(object.String("invoke_token"))
	if token != nil && *token != "" {
		check.Text(faults, "invoke_token", string(*token), maxToken)
	}
	return token
}
