package namespace

import (
	"encoding/json"

	"containertriggers/shared/contract/srn"
	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/environment"
)

// MarshalJSON returns the namespace as the API answers it. It replaces secret environment
// variables by their hashes.
func (n Namespace) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID             string            `json:"id"`
		Name           string            `json:"name"`
		ProjectID      string            `json:"project_id"`
		OrganizationID string            `json:"organization_id"`
		Description    string            `json:"description"`
		Status         container.Status  `json:"status"`
		ErrorMessage   *string           `json:"error_message"`
		Environment    map[string]string `json:"environment_variables"`
		Hashes         map[string]string `json:"secret_environment_variables"`
		Tags           []string          `json:"tags"`
		CreatedAt      timestamp.Time    `json:"created_at"`
		UpdatedAt      timestamp.Time    `json:"updated_at"`
		Region         string            `json:"region"`
		SRN            string            `json:"srn"`
	}{
		ID: n.ID, Name: n.Name, ProjectID: n.ProjectID, OrganizationID: n.OrganizationID,
		Description: n.Description, Status: n.Status, Environment: n.Environment, Hashes: environment.Hashes(n.Variables),
		Tags: n.Tags, CreatedAt: timestamp.Time(n.CreatedAt), UpdatedAt: timestamp.Time(n.UpdatedAt), Region: n.Region,
		SRN: srn.Of(n.Domain, n.Region, "namespaces", n.ID),
	})
}
