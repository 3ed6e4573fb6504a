// Package stack deploys the project's template.yaml, as it is, on an AWS
// emulator.
package stack

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"containertriggers/infra/local/child"
	"containertriggers/infra/local/moto"
)

//go:embed deploy.py
var program string

// Stack is what was deployed, as far as the emulator does not know it.
type Stack struct {
	Routes   []Route  `json:"routes"`
	Throttle Throttle `json:"throttle"`
	// Functions are the functions by their logical ID in the template.
	Functions map[string]Function `json:"functions"`
}

// Route is a route of the HTTP API.
type Route struct {
	Method string `json:"method"`
	// Path holds parameters in braces.
	Path string `json:"path"`
	// Function is a logical ID.
	Function string `json:"function"`
}

// Throttle is how many requests the HTTP API takes a second, and at once; zero is
// as many as come.
type Throttle struct {
	Rate  float64 `json:"rate"`
	Burst int     `json:"burst"`
}

// Function is a deployed function.
type Function struct {
	Name string `json:"name"`
	// Folder is where its code is below functions/.
	Folder string `json:"folder"`
	// Policies are those that its role itself holds. What is attached to the role, as
	// AWS's own policies are that let Lambda write logs and read streams, is for no
	// call of the function's.
	Policies []json.RawMessage `json:"policies"`
}

// Deploy deploys the template under that name.
func Deploy(ctx context.Context, python, endpoint, template, name string, parameters map[string]string) (Stack, error) {
	encoded, err := json.Marshal(parameters)
	if err != nil {
		return Stack{}, fmt.Errorf("encoding the parameters: %w", err)
	}
	cmd := exec.CommandContext(ctx, python, "-W", "ignore", "-c", program, template, name, string(encoded))
	child.Prepare(cmd)
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+endpoint, "AWS_REGION="+moto.Region, "AWS_DEFAULT_REGION="+moto.Region,
		"AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_EC2_METADATA_DISABLED=true")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return Stack{}, fmt.Errorf("deploying %s: %w\n%s", template, err, strings.TrimSpace(stderr.String()))
	}
	var deployed Stack
	if err := json.Unmarshal(stdout.Bytes(), &deployed); err != nil {
		return Stack{}, fmt.Errorf("deploying %s: reading what was deployed: %w", template, err)
	}
	for logicalID, function := range deployed.Functions {
		if function.Folder == "" {
			function.Folder = Label(logicalID)
			deployed.Functions[logicalID] = function
		}
	}
	return deployed, nil
}

var hump = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// Label is a function's name for people: CreateTriggerFunction is create-trigger.
// By the project's convention that is also its folder.
func Label(logicalID string) string {
	return strings.ToLower(hump.ReplaceAllString(strings.TrimSuffix(logicalID, "Function"), "$1-$2"))
}
