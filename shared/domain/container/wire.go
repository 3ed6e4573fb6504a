package container

import (
	"encoding/json"

	"containertriggers/shared/contract/request"
	"containertriggers/shared/contract/srn"
	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/environment"
)

// MarshalJSON returns the container as the API answers it. It leaves out the token, and
// replaces secret environment variables by their hashes.
func (c Container) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID             string         `json:"id"`
		Name           string         `json:"name"`
		NamespaceID    string         `json:"namespace_id"`
		ProjectID      string         `json:"project_id"`
		OrganizationID string         `json:"organization_id"`
		Description    string         `json:"description"`
		Status         Status         `json:"status"`
		ErrorMessage   *string        `json:"error_message"`
		Privacy        Privacy        `json:"privacy"`
		PublicEndpoint string         `json:"public_endpoint"`
		Timeout        string         `json:"timeout"`
		Tags           []string       `json:"tags"`
		CreatedAt      timestamp.Time `json:"created_at"`
		UpdatedAt      timestamp.Time `json:"updated_at"`
		Region         string         `json:"region"`
		SRN            string         `json:"srn"`
		Spec
		Hashes          map[string]string `json:"secret_environment_variables"`
		PrivateEndpoint *string           `json:"private_endpoint"`
	}{
		ID: c.ID, Name: c.Name, NamespaceID: c.NamespaceID, ProjectID: c.ProjectID, OrganizationID: c.OrganizationID,
		Description: c.Description, Status: c.Status, Privacy: c.Privacy, PublicEndpoint: c.PublicEndpoint,
		Timeout: request.DurationText(c.Timeout), Tags: c.Tags,
		CreatedAt: timestamp.Time(c.CreatedAt), UpdatedAt: timestamp.Time(c.UpdatedAt), Region: c.Region, SRN: srn.Of(c.Domain, c.Region, "containers", c.ID),
		Spec: c.Spec, Hashes: environment.Hashes(c.Variables),
	})
}
