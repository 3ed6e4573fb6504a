package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"

	"containertriggers/infra/local/cloud"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/auth"
)

// api calls the API.
type api struct{ base, token string }

// newAPI makes a key for the API of a cloud.
func newAPI(ctx context.Context, c *cloud.Cloud) (api, error) {
	key, plain := auth.NewKey(auth.Principal{OrganizationID: uuid.NewString(), PermissionSet: auth.FullAccess, DefaultProjectID: uuid.NewString()}, "bench", time.Now(), time.Time{})
	keys := store.Keys{Client: dynamodb.NewFromConfig(c.AWSConfig()), Table: c.Function("get-trigger").Environment["KEYS_TABLE"]}
	return api{base: c.APIURL() + "/containers/v1/regions/fr-par", token: string(plain)}, keys.Create(ctx, key)
}

// createTrigger creates a container and a trigger for it, and waits until it is ready. The
// config names the source.
func (a api) createTrigger(ctx context.Context, containerURL string, config map[string]any) (created map[string]any, err error) {
	on, err := a.do(ctx, http.MethodPost, "/containers", map[string]any{"name": "bench", "public_endpoint": containerURL})
	if err != nil {
		return nil, err
	}
	body := map[string]any{"name": "bench", "container_id": on["id"]}
	maps.Copy(body, config)
	if created, err = a.do(ctx, http.MethodPost, "/triggers", body); err != nil {
		return nil, err
	}
	for end := time.Now().Add(time.Minute); created["status"] != "ready"; time.Sleep(100 * time.Millisecond) { //nolint:forbidigo // polls with a deadline
		if created, err = a.do(ctx, http.MethodGet, "/triggers/"+created["id"].(string), nil); err != nil {
			return nil, err
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("the trigger is %v: %v", created["status"], created["error_message"])
		}
	}
	return created, nil
}

func (a api) do(ctx context.Context, method, path string, body map[string]any) (map[string]any, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Auth-Token", a.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s %v", method, path, response.Status, answer)
	}
	return answer, nil
}
