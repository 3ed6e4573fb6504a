package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"

	"containertriggers/infra/local/cloud"
	"containertriggers/infra/local/moto"
	"containertriggers/shared/auth"
	"containertriggers/shared/httpapi"
	"containertriggers/shared/secret"
	"containertriggers/shared/table"
)

// environment is what clients need to know, as NAME=value.
type environment []string

// write writes a file that a shell can source. It holds a secret key, so it is
// for its owner alone.
func (e environment) write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making a place for %s: %w", path, err)
	}
	var text strings.Builder
	for _, variable := range e {
		text.WriteString("export " + variable + "\n")
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("writing the environment: %w", err)
	}
	return nil
}

// writeSAM writes the functions' environments for `sam local invoke --env-vars`.
func writeSAM(path string, c *cloud.Cloud) error {
	text, err := json.MarshalIndent(c.Environments(), "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the functions' environments: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the functions' environments: %w", err)
	}
	return nil
}

// prepare gives a newcomer something to look at: a key, and with it, over the
// API, a container and a trigger that calls it every minute.
func prepare(ctx context.Context, c *cloud.Cloud, demoURL string) (environment, error) {
	organization := uuid.NewString()
	key, plain := auth.NewKey(auth.Caller{
		OrganizationID: organization, DefaultProjectID: organization, PermissionSet: auth.FullAccess,
	}, "the local cloud's", time.Now(), time.Time{})
	keys := table.Keys{
		Client: dynamodb.NewFromConfig(c.AWSConfig()), Table: c.Function("get-trigger").Environment["KEYS_TABLE"],
	}
	if err := keys.Create(ctx, key); err != nil {
		return nil, err
	}
	region := httpapi.Regions[0]
	api := apiClient{base: c.APIURL() + "/containers/v1/regions/" + region, token: plain}
	container, err := api.create(ctx, "/containers", map[string]any{"name": "demo", "public_endpoint": demoURL})
	if err != nil {
		return nil, err
	}
	_, err = api.create(ctx, "/triggers", map[string]any{
		"name": "every-minute", "container_id": container,
		"cron_config": map[string]any{"schedule": "* * * * *", "timezone": "UTC", "body": `{"hello":"container"}`},
	})
	if err != nil {
		return nil, err
	}
	return environment{
		"SCW_API_URL=" + c.APIURL(),
		"SCW_ACCESS_KEY=" + key.AccessKey,
		"SCW_SECRET_KEY=" + string(plain),
		"SCW_DEFAULT_ORGANIZATION_ID=" + key.OrganizationID,
		"SCW_DEFAULT_PROJECT_ID=" + key.DefaultProjectID,
		"SCW_DEFAULT_REGION=" + region,
		"SCW_INSECURE=true",
		"AWS_ENDPOINT_URL=" + c.AWSEndpoint(),
		"AWS_REGION=" + moto.Region,
		"AWS_DEFAULT_REGION=" + moto.Region, // which the AWS CLI v1 reads
		"AWS_ACCESS_KEY_ID=local",
		"AWS_SECRET_ACCESS_KEY=local",
		"NATS_URL=" + c.NATSURL(),
		"KEYS_TABLE=" + keys.Table,
		"CONTAINER_ID=" + container,
	}, nil
}

// apiClient calls the API as curl would.
type apiClient struct {
	base  string
	token secret.Text
}

// create posts a resource and gives its ID.
func (a apiClient) create(ctx context.Context, path string, resource map[string]any) (id string, err error) {
	body, err := json.Marshal(resource)
	if err != nil {
		return "", fmt.Errorf("encoding a request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+path, bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("making a request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Auth-Token", string(a.token))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("calling the API: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("creating %s: %s %s", path, response.Status, answer)
	}
	var created struct {
		ID string `json:"id"`
	}
	err = json.Unmarshal(answer, &created)
	return created.ID, err
}
