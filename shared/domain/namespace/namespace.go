// Package namespace is the domain of namespaces. A namespace is a named group of the
// containers of a project. If it is deleted, the service deletes its containers and their
// triggers.
package namespace

import (
	"reflect"
	"strings"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/environment"
)

// Resource is the contract's name for a namespace, as errors give it.
const Resource = "namespace"

// Namespace is a group of containers. It is ready immediately, because the service sets
// nothing up for it.
type Namespace struct {
	ID     string
	Region string
	// Domain is the deployment's domain, for the srn of an answer. It is not stored.
	Domain string
	// Owner has no NamespaceID.
	auth.Owner

	Name        string
	Description string
	Tags        []string
	Environment map[string]string
	// Variables are the secret environment variables by name.
	Variables map[string]environment.Variable

	Status    container.Status
	CreatedAt time.Time
	UpdatedAt time.Time
	// Generation grows with each effective update and with the deletion.
	Generation int64
}

// Location returns the region that the namespace is in and its owner.
func (n Namespace) Location() (region string, owner auth.Owner) {
	return n.Region, n.Owner
}

// CurrentGeneration returns the namespace's generation.
func (n Namespace) CurrentGeneration() int64 { return n.Generation }

// ChangedBy returns the namespace as it is: it keeps no record of its changes.
func (n Namespace) ChangedBy(auth.Change) Namespace { return n }

// ResourceID returns the namespace's ID.
func (n Namespace) ResourceID() string { return n.ID }

// Answered returns the namespace as a deployment of that domain answers it, which is the same at all
// times.
func (n Namespace) Answered(domain string, _ time.Time) Namespace {
	n.Domain = domain
	return n
}

// Create returns the namespace that a body describes. The caller of Create must set
// OrganizationID and ProjectID if the body does not, and must seal the secret variables.
// The error is an *apierr.Error that names every fault of the body.
func Create(data []byte, id, region string, now time.Time) (Namespace, map[string]secret.Text, error) {
	var faults apierr.Arguments
	object := request.Parse(data, &faults)

	now = timestamp.Truncate(now)
	n := Namespace{
		ID: id, Region: region, Tags: []string{}, Environment: map[string]string{}, Variables: map[string]environment.Variable{},
		Status: container.Ready, CreatedAt: now, UpdatedAt: now, Generation: 1,
	}
	for argument, field := range map[string]*string{"organization_id": &n.OrganizationID, "project_id": &n.ProjectID} {
		if given := object.String(argument); given != nil && *given != "" {
			*field = request.UUID(&faults, argument, *given)
		}
	}
	request.Required(&faults, "name", object.String("name"))
	secrets := n.apply(object, &faults)
	return n, secrets, faults.Err()
}

// Update returns n with the changes that the body asks for, and the secret variables with
// new values. If the body changes nothing, it returns n with the same generation. The error
// is an *apierr.Error. It names every fault of the body, or says that n is being deleted.
func (n Namespace) Update(data []byte, now time.Time) (Namespace, map[string]secret.Text, error) {
	if n.Status == container.Deleting {
		return n, nil, apierr.TransientState(Resource, n.ID, string(n.Status))
	}
	var faults apierr.Arguments
	object := request.Parse(data, &faults)

	updated := n
	for argument, own := range map[string]string{"organization_id": n.OrganizationID, "project_id": n.ProjectID} {
		if given := object.String(argument); given != nil && *given != "" && !strings.EqualFold(*given, own) {
			faults.Add(argument, apierr.Constraint, "cannot be changed; create another namespace instead")
		}
	}
	secrets := updated.apply(object, &faults)
	if err := faults.Err(); err != nil {
		return n, nil, err
	}
	if len(secrets) == 0 && reflect.DeepEqual(n, updated) {
		return n, nil, nil
	}
	updated.Generation++
	updated.UpdatedAt = timestamp.Next(n.UpdatedAt, now)
	return updated, secrets, nil
}

// Seal returns n with the secret variables as ciphertext. The function seal encrypts one
// value.
func (n Namespace) Seal(secrets map[string]secret.Text, seal func(secret.Text) ([]byte, error)) (Namespace, error) {
	var err error
	n.Variables, err = environment.Seal(n.Variables, secrets, func(_ string, value secret.Text) ([]byte, error) { return seal(value) })
	return n, err
}

// apply sets the fields that the body gives, and returns the secret variables with new
// values. It never changes a map or a slice in place, because n shares them with the
// namespace that it was copied from.
func (n *Namespace) apply(object request.Object, faults *apierr.Arguments) map[string]secret.Text {
	if name := object.String("name"); name != nil {
		n.Name = request.Name(faults, "name", *name)
	}
	if description := object.String("description"); description != nil {
		n.Description = request.Description(faults, "description", *description)
	}
	if tags := object.Strings("tags"); tags != nil {
		n.Tags = request.Tags(faults, "tags", *tags)
	}
	if variables := environment.Read(object, "environment_variables", faults); variables != nil {
		n.Environment = *variables
	}
	kept, secrets := environment.ReadSecrets(object, "secret_environment_variables", n.Variables, faults)
	if kept != nil {
		n.Variables = kept
	}
	return secrets
}
