package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/cloud"
	"containertriggers/infra/local/moto"
	"containertriggers/infra/local/sample"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/auth"
)

// environment holds variables for clients, as NAME=value.
type environment []string

// console returns a link that signs in to the console. The page takes the key from the
// fragment, which browsers do not send, and removes it from the address bar.
func (e environment) console() string {
	var api, key string
	for _, variable := range e {
		switch name, value, _ := strings.Cut(variable, "="); name {
		case "SCW_API_URL":
			api = value
		case "SCW_SECRET_KEY":
			key = value
		}
	}
	return api + "/#key=" + url.QueryEscape(key)
}

// write writes a file that a shell can source. Only the file's owner may read it, because it
// holds a secret key.
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

// writeSAM writes the functions' environments for `sam local invoke --env-vars`. Their
// endpoint is the emulator at host, which containers reach.
func writeSAM(path string, c *cloud.Cloud, host string) error {
	text, err := json.MarshalIndent(c.Environments(), "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the functions' environments: %w", err)
	}
	text = bytes.ReplaceAll(text, []byte(c.AWSEndpoint()), []byte(at(host, c.AWSEndpoint())))
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the functions' environments: %w", err)
	}
	return nil
}

// prepare creates a key, a container, and a trigger that calls it every minute. It returns
// the variables for clients.
func prepare(ctx context.Context, c *cloud.Cloud, demoURL string) (environment, error) {
	organization := uuid.NewString()
	key, plain := auth.NewKey(auth.Principal{
		OrganizationID: organization, DefaultProjectID: organization, PermissionSet: auth.FullAccess,
	}, "the local cloud's", time.Now(), time.Time{})
	deployed := c.Function("get-trigger").Environment
	keys := store.Keys{Client: dynamodb.NewFromConfig(c.AWSConfig()), Table: deployed["KEYS_TABLE"]}
	if err := keys.Create(ctx, key); err != nil {
		return nil, err
	}
	region, _, _ := strings.Cut(deployed["REGIONS"], ",")
	api := apiClient{base: c.APIURL() + "/containers/v1/regions/" + region, token: plain}
	container, err := api.create(ctx, "/containers", map[string]any{"name": "demo", "public_endpoint": demoURL})
	if err != nil {
		return nil, err
	}
	demoTrigger, err := api.create(ctx, "/triggers", map[string]any{
		"name": "every-minute", "container_id": container,
		"cron_config": map[string]any{"schedule": "* * * * *", "timezone": "UTC", "body": `{"hello":"container"}`},
	})
	if err != nil {
		return nil, err
	}
	queue, err := sqs.NewFromConfig(c.AWSConfig()).CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("terraform-example")})
	if err != nil {
		return nil, fmt.Errorf("creating the queue of infra/terraform-example: %w", err)
	}
	env := environment{
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
		"AWS_ACCOUNT_ID=" + c.Account(),
		"ARCHITECTURE=" + architectures[runtime.GOARCH],
		"NATS_URL=" + c.NATSURL(),
		"KEYS_TABLE=" + keys.Table,
		"CONTAINER_ID=" + container,
		"TRIGGER_ID=" + demoTrigger,
	}
	return append(env, example(c.APIURL(), region, demoURL, c.AWSEndpoint(), aws.ToString(queue.QueueUrl), c.NATSURL())...), nil
}

// example returns the variables of infra/terraform-example.
func example(apiURL, region, containerURL, sqsEndpoint, queueURL, natsURL string) environment {
	return environment{
		"TF_VAR_api_url=" + apiURL,
		"TF_VAR_region=" + region,
		"TF_VAR_container_url=" + containerURL,
		"TF_VAR_invoke_token=" + uuid.NewString(),
		"TF_VAR_sqs_endpoint=" + sqsEndpoint,
		"TF_VAR_queue_url=" + queueURL,
		"TF_VAR_sqs_access_key=local",
		"TF_VAR_sqs_secret_key=local",
		"TF_VAR_nats_url=" + natsURL,
	}
}

// keepEvery is the interval at which keepSamples stores the samples.
const keepEvery = 5 * time.Second

// keepSamples stores the resources of the sample events, and stores them again if a sample
// event has deleted them, until ctx ends.
func keepSamples(ctx context.Context, c *cloud.Cloud, containerURL string) {
	for {
		if err := sample.Store(ctx, c.AWSEndpoint(), c.Function("reconcile").Environment, c.Function("get-run").Environment["RUNS_TABLE"], containerURL); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "storing what the sample events are about failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(keepEvery):
		}
	}
}

// architectures are the values of the template's parameter Architecture by Go's
// names.
var architectures = map[string]string{"amd64": "x86_64", "arm64": "arm64"}

// apiClient calls the API.
type apiClient struct {
	base  string
	token secret.Text
}

// create creates a resource and returns its ID.
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
