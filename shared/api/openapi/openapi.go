// Package openapi has the OpenAPI document of the API.
package openapi

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// YAML is the document in YAML.
//
//go:embed openapi.yaml
var YAML []byte

// JSON returns the document in JSON.
func JSON() ([]byte, error) {
	var document any
	if err := yaml.Unmarshal(YAML, &document); err != nil {
		return nil, fmt.Errorf("reading the document: %w", err)
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("writing the document: %w", err)
	}
	return text, nil
}
