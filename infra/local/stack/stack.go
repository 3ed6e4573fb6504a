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

// Stack is the part of a deployed stack that the emulator does not know.
type Stack struct {
	Routes   []Route  `json:"routes"`
	Throttle Throttle `json:"throttle"`
	// CORS is nil if no page elsewhere may call the API.
	CORS *CORS `json:"cors"`
	// Functions are the functions by their logical ID in the template.
	Functions map[string]Function `json:"functions"`
}

// Route is a route of the HTTP API.
type Route struct {
	Method string `json:"method"`
	// Path may hold parameters in braces. "$default" is the path of the route that takes the
	// requests of no other route, by any method.
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

// CORS is which pages elsewhere may call the HTTP API, and how.
type CORS struct {
	AllowOrigins, AllowMethods, AllowHeaders []string
	ExposeHeaders                            []string
	MaxAge                                   int
}

// Function is a deployed function.
type Function struct {
	Name string `json:"name"`
	// Folder is the folder of its code below functions/.
	Folder string `json:"folder"`
	// Policies are the inline policies of its role. Attached policies, such as AWS's own for
	// writing logs and reading streams, allow no call of the function's code.
	Policies []json.RawMessage `json:"policies"`
}

// Deploy deploys the template under that name.
func Deploy(ctx context.Context, python, endpoint, template, name string, parameters map[string]string) (Stack, error) {
	description, err := run(ctx, python, endpoint, template, name, parameters)
	if err != nil {
		return Stack{}, err
	}
	deployed, err := Read(description)
	if err != nil {
		return Stack{}, fmt.Errorf("deploying %s: %w", template, err)
	}
	return deployed, nil
}

// Resource is a resource of the template.
type Resource struct {
	Type, DeletionPolicy string
	Metadata             struct{ Function string }
	Properties           map[string]any
}

// Resources returns, for each set of parameters, the resources that CloudFormation would
// make of the template, by their logical IDs. It resolves conditions and parameters, and
// leaves references from one resource to another.
func Resources(ctx context.Context, python, template, name string, parameters ...map[string]string) ([]map[string]Resource, error) {
	text, err := run(ctx, python, "", template, name, parameters, "show")
	if err != nil {
		return nil, err
	}
	var resources []map[string]Resource
	if err := json.Unmarshal(text, &resources); err != nil {
		return nil, fmt.Errorf("reading the resources of %s: %w", template, err)
	}
	return resources, nil
}

// run runs deploy.py and returns its output.
func run(ctx context.Context, python, endpoint, template, name string, parameters any, show ...string) ([]byte, error) {
	encoded, err := json.Marshal(parameters)
	if err != nil {
		return nil, fmt.Errorf("encoding the parameters: %w", err)
	}
	cmd := exec.CommandContext(ctx, python, append([]string{"-W", "ignore", "-c", program, template, name, string(encoded)}, show...)...)
	child.Prepare(cmd)
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+endpoint, "AWS_REGION="+moto.Region, "AWS_DEFAULT_REGION="+moto.Region,
		"AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_EC2_METADATA_DISABLED=true")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("deploying %s: %w\n%s", template, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// Read reads the description of a stack that deploy.py writes.
func Read(description []byte) (Stack, error) {
	var deployed Stack
	if err := json.Unmarshal(description, &deployed); err != nil {
		return Stack{}, fmt.Errorf("reading the description of a stack: %w", err)
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
