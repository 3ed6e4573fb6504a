// Package container is the domain of containers. A container is an HTTP endpoint that runs
// somewhere else, and that triggers invoke. The service keeps a registry of them.
package container

import (
	"net/url"
	"reflect"
	"strings"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/environment"
)

// Resource is the contract's name for a container, as errors give it.
const Resource = "container"

// Container is an HTTP endpoint that triggers invoke.
type Container struct {
	ID     string
	Region string
	auth.Owner
	// Domain is the deployment's domain, for the srn of an answer. It is not stored.
	Domain string

	Name        string
	Description string
	Tags        []string
	Privacy     Privacy
	// PublicEndpoint is a URL. A call appends the path of its trigger to it.
	PublicEndpoint string
	// Timeout is the longest time that a call may take: 1 s to [MaxTimeout].
	Timeout time.Duration
	// SealedToken is the container's token as ciphertext. It is empty if the container has
	// no token.
	SealedToken []byte
	// Variables are the secret environment variables by name.
	Variables map[string]environment.Variable
	Spec      Spec

	Status    Status
	CreatedAt time.Time
	UpdatedAt time.Time
	// Generation grows with each effective update and with the deletion.
	Generation int64
}

// Location returns the region that the container is in and its owner.
func (c Container) Location() (region string, owner auth.Owner) {
	return c.Region, c.Owner
}

// CurrentGeneration returns the container's generation.
func (c Container) CurrentGeneration() int64 { return c.Generation }

// ChangedBy returns the container as it is: it keeps no record of its changes.
func (c Container) ChangedBy(auth.Change) Container { return c }

// ResourceID returns the container's ID.
func (c Container) ResourceID() string { return c.ID }

// Answered returns the container as a deployment of that domain answers it, which is the same at all
// times.
func (c Container) Answered(domain string, _ time.Time) Container {
	c.Domain = domain
	return c
}

// Status is the state of a container. A container is ready until its deletion.
type Status string

// The statuses that the service gives.
const (
	Ready    Status = "ready"
	Deleting Status = "deleting"
)

// Privacy says whether calls of a container carry its token.
type Privacy string

// The privacies.
const (
	Public  Privacy = "public"
	Private Privacy = "private"
)

// DefaultTimeout is the timeout of a container that is created without one.
const DefaultTimeout = 300 * time.Second

// MaxTimeout is the largest timeout. A Lambda function runs for at most 900 s, and needs
// part of that time to record the outcome.
const MaxTimeout = 840 * time.Second

// MaxRelayTimeout is the largest timeout for triggers that the relay delivers. One run of
// the relay must get its successor, and then end its calls, in 900 s.
const MaxRelayTimeout = 600 * time.Second

// Rules are the deployment's settings for containers.
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

// Create returns the container that a body describes. The caller of Create must set
// OrganizationID and ProjectID if the body does not, and must seal the secrets. The error
// is an *apierr.Error that names every fault of the body.
func Create(data []byte, id, region string, rules Rules, now time.Time) (Container, Secrets, error) {
	var faults apierr.Arguments
	object := request.Parse(data, &faults)

	now = timestamp.Truncate(now)
	c := Container{
		ID: id, Region: region, Tags: []string{}, Privacy: Public, Timeout: DefaultTimeout,
		Variables: map[string]environment.Variable{}, Spec: DefaultSpec(),
		Status: Ready, CreatedAt: now, UpdatedAt: now, Generation: 1,
	}
	for argument, field := range map[string]*string{
		"organization_id": &c.OrganizationID, "project_id": &c.ProjectID, "namespace_id": &c.NamespaceID,
	} {
		if given := object.String(argument); given != nil && *given != "" {
			*field = request.UUID(&faults, argument, *given)
		}
	}
	request.Required(&faults, "name", object.String("name"))
	if image := object.String("image"); image == nil || *image == "" {
		request.Required(&faults, "public_endpoint", object.String("public_endpoint"))
	}
	secrets := c.apply(object, rules, &faults)
	return c, secrets, faults.Err()
}

// Update returns c with the changes that the body asks for, and the secrets that the body
// gives. If the body changes nothing, it returns c with the same generation. The error is
// an *apierr.Error. It names every fault of the body, or says that c is being deleted.
func (c Container) Update(data []byte, rules Rules, now time.Time) (Container, Secrets, error) {
	if c.Status == Deleting {
		return c, Secrets{}, apierr.TransientState(Resource, c.ID, string(c.Status))
	}
	var faults apierr.Arguments
	object := request.Parse(data, &faults)

	updated := c
	for argument, own := range map[string]string{
		"organization_id": c.OrganizationID, "project_id": c.ProjectID, "namespace_id": c.NamespaceID,
	} {
		if given := object.String(argument); given != nil && *given != "" && !strings.EqualFold(*given, own) {
			faults.Add(argument, apierr.Constraint, "cannot be changed; create another container instead")
		}
	}
	secrets := updated.apply(object, rules, &faults)
	if secrets.Token == nil && len(c.SealedToken) > 0 && origin(c.PublicEndpoint) != origin(updated.PublicEndpoint) {
		// Otherwise a caller could redirect the stored token to a host of their own.
		faults.Add("invoke_token", apierr.Required,
			"must be given again if the container moves to another host, here or as the secret environment variable "+TokenVariable)
	}
	if err := faults.Err(); err != nil {
		return c, Secrets{}, err
	}
	if secrets.none() && reflect.DeepEqual(c, updated) {
		return c, Secrets{}, nil
	}
	updated.Generation++
	updated.UpdatedAt = timestamp.Next(c.UpdatedAt, now)
	return updated, secrets, nil
}

// origin returns the scheme and host of an endpoint.
func origin(endpoint string) string {
	parsed, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return parsed.Scheme + "://" + strings.ToLower(parsed.Host)
}

// apply sets the fields that the body gives, and returns the secrets. It never changes a
// map or a slice in place, because c shares them with the container that it was copied from.
func (c *Container) apply(object request.Object, rules Rules, faults *apierr.Arguments) Secrets {
	if name := object.String("name"); name != nil {
		c.Name = request.Name(faults, "name", *name)
	}
	if description := object.String("description"); description != nil {
		c.Description = request.Description(faults, "description", *description)
	}
	if tags := object.Strings("tags"); tags != nil {
		c.Tags = request.Tags(faults, "tags", *tags)
	}
	if image := object.String("image"); image != nil && *image != "" {
		c.Spec.Image = checkImage(faults, *image, rules)
		c.PublicEndpoint = c.Spec.Image
	}
	if endpoint := object.String("public_endpoint"); endpoint != nil {
		c.PublicEndpoint = checkEndpoint(faults, "public_endpoint", *endpoint, rules)
	}
	if privacy := object.Enum("privacy", string(Public), string(Private)); privacy != nil {
		c.Privacy = Privacy(*privacy)
	}
	if timeout := object.String("timeout"); timeout != nil {
		c.Timeout = request.Duration(faults, "timeout", *timeout, time.Second, MaxTimeout)
	}
	c.Spec.apply(object, faults)
	return c.applySecrets(object, faults)
}
