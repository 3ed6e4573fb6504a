// Package mototest gives tests an AWS to talk to: one moto server for each test
// binary, which ends with it, and the project's template deployed on it. Tests
// keep out of each other's way by the IDs of their rows.
package mototest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"containertriggers/infra/local/moto"
	"containertriggers/infra/local/stack"
)

var start = sync.OnceValues(func() (*moto.Server, error) {
	return moto.Start(context.Background(), moto.Python())
})

// Config is the AWS configuration of the test binary's moto server, which is
// started when it is first asked for.
func Config(tb testing.TB) aws.Config {
	tb.Helper()
	server, err := start()
	if err != nil {
		tb.Fatal(err)
	}
	return moto.Config(server.Endpoint())
}

var deploy = sync.OnceValues(func() (stack.Stack, error) {
	server, err := start()
	if err != nil {
		return stack.Stack{}, err
	}
	template, err := find("template.yaml")
	if err != nil {
		return stack.Stack{}, err
	}
	return stack.Deploy(context.Background(), moto.Python(), server.Endpoint(), template, "test", map[string]string{})
})

// Stack is what was deployed of the template.
func Stack(tb testing.TB) stack.Stack {
	tb.Helper()
	deployed, err := deploy()
	if err != nil {
		tb.Fatal(err)
	}
	return deployed
}

// Environment is the environment that the deployed template gives to the function
// in that folder: the names of the tables and so on, as the function itself will
// read them.
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

// find looks for a file in this folder and those above it.
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
