package container

import (
	"encoding/json"

	"containertriggers/shared/wiretime"
)

// MarshalJSON gives the container as the API answers it. What the service does
// not know of (image, scaling, probes and so on) has its zero value, for the
// stock clients expect every field. The token is never answered.
func (c Container) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID              string            `json:"id"`
		Name            string            `json:"name"`
		NamespaceID     string            `json:"namespace_id"`
		ProjectID       string            `json:"project_id"`
		OrganizationID  string            `json:"organization_id"`
		Description     string            `json:"description"`
		Status          Status            `json:"status"`
		ErrorMessage    *string           `json:"error_message"`
		Privacy         Privacy           `json:"privacy"`
		PublicEndpoint  string            `json:"public_endpoint"`
		Timeout         string            `json:"timeout"`
		Tags            []string          `json:"tags"`
		CreatedAt       wiretime.Time     `json:"created_at"`
		UpdatedAt       wiretime.Time     `json:"updated_at"`
		Region          string            `json:"region"`
		Environment     map[string]string `json:"environment_variables"`
		SecretEnv       map[string]string `json:"secret_environment_variables"`
		MinScale        int               `json:"min_scale"`
		MaxScale        int               `json:"max_scale"`
		MemoryLimit     int               `json:"memory_limit_bytes"`
		CPULimit        int               `json:"mvcpu_limit"`
		StorageLimit    int               `json:"local_storage_limit_bytes"`
		Image           string            `json:"image"`
		Protocol        string            `json:"protocol"`
		Port            int               `json:"port"`
		HTTPSOnly       bool              `json:"https_connections_only"`
		Sandbox         string            `json:"sandbox"`
		Scaling         *struct{}         `json:"scaling_option"`
		Liveness        *struct{}         `json:"liveness_probe"`
		Startup         *struct{}         `json:"startup_probe"`
		PrivateNetwork  *string           `json:"private_network_id"`
		Command         []string          `json:"command"`
		Args            []string          `json:"args"`
		PrivateEndpoint *string           `json:"private_endpoint"`
		DefaultEndpoint bool              `json:"default_public_endpoint_enabled"`
	}{
		ID: c.ID, Name: c.Name, NamespaceID: c.NamespaceID, ProjectID: c.ProjectID, OrganizationID: c.OrganizationID,
		Description: c.Description, Status: c.Status, Privacy: c.Privacy, PublicEndpoint: c.PublicEndpoint,
		Timeout: timeoutText(c.Timeout), Tags: c.Tags,
		CreatedAt: wiretime.Time(c.CreatedAt), UpdatedAt: wiretime.Time(c.UpdatedAt), Region: c.Region,
		Environment: map[string]string{}, SecretEnv: map[string]string{},
		Protocol: "unknown_protocol", Sandbox: "unknown_sandbox",
		Command: []string{}, Args: []string{},
	})
}
