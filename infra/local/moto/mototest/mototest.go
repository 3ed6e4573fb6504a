// Package mototest starts a moto server for a test binary and deploys the project's
// template on it. The server ends with the test binary. Under `make test` the servers are
// copies of one, which copies.py makes. Tests share the tables, so each uses rows with IDs
// of its own.
package mototest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"containertriggers/infra/local/moto"
	"containertriggers/infra/local/stack"
)

// emulator is a moto server and how to deploy the template on it.
type emulator struct {
	endpoint string
	deploy   func() (stack.Stack, error)
	held     io.Closer // the emulator ends if this is closed
}

var start = sync.OnceValues(func() (emulator, error) {
	if socket := os.Getenv("MOTO_COPIES"); socket != "" {
		return copied(socket)
	}
	server, err := moto.Start(context.Background(), moto.Python())
	if err != nil {
		return emulator{}, err
	}
	return emulator{endpoint: server.Endpoint(), deploy: func() (stack.Stack, error) {
		template, err := find("template.yaml")
		if err != nil {
			return stack.Stack{}, err
		}
		return stack.Deploy(context.Background(), moto.Python(), server.Endpoint(), template, "test", map[string]string{})
	}}, nil
})

// copied returns a copy of the emulator on which copies.py has deployed the template.
func copied(socket string) (emulator, error) {
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return emulator{}, fmt.Errorf("asking for a copy of the emulator: %w", err)
	}
	var answer struct {
		Port  int             `json:"port"`
		Stack json.RawMessage `json:"stack"`
	}
	if err := json.NewDecoder(connection).Decode(&answer); err != nil {
		return emulator{}, fmt.Errorf("asking for a copy of the emulator: %w", err)
	}
	return emulator{
		endpoint: fmt.Sprintf("http://127.0.0.1:%d", answer.Port),
		deploy:   func() (stack.Stack, error) { return stack.Read(answer.Stack) },
		held:     connection,
	}, nil
}

// Config returns the AWS configuration of the test binary's moto server. The first call
// starts the server.
func Config(tb testing.TB) aws.Config {
	tb.Helper()
	server, err := start()
	if err != nil {
		tb.Fatal(err)
	}
	return moto.Config(server.endpoint)
}

var deploy = sync.OnceValues(func() (stack.Stack, error) {
	server, err := start()
	if err != nil {
		return stack.Stack{}, err
	}
	return server.deploy()
})

// Stack returns the deployed stack.
func Stack(tb testing.TB) stack.Stack {
	tb.Helper()
	deployed, err := deploy()
	if err != nil {
		tb.Fatal(err)
	}
	return deployed
}

// Environment returns the environment variables of a deployed function, such as the names
// of the tables, by the function's folder.
func Environment(tb testing.TB, folder string) map[string]string {
	tb.Helper()
	for _, function := range Stack(tb).Functions {
		if function.Folder == folder {
			described, err := lambda.NewFromConfig(Config(tb)).GetFunctionConfiguration(context.Background(),
				&lambda.GetFunctionConfigurationInput{FunctionName: &function.Name})
			if err != nil {
				tb.Fatal(err)
			}
			return described.Environment.Variables
		}
	}
	tb.Fatalf("the template has no function %s", folder)
	return nil
}

// find returns the path of a file in this folder or the nearest folder above that has it.
func find(name string) (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for %s: %w", name, err)
	}
	for {
		path := filepath.Join(folder, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New(name + " is in no folder above the test's")
		}
		folder = parent
	}
}
