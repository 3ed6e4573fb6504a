// Package moto runs the AWS emulator moto as a server on the loopback address.
package moto

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"containertriggers/infra/local/child"
	"containertriggers/shared/platform/awsclient"
)

// Region is the AWS region of the emulator.
const Region = "us-east-1"

//go:embed server.py
var program string

// Python returns the name of the interpreter that has moto: the value of PYTHON, which the
// Makefile sets to the output of infra/local/python.sh, or python3.
func Python() string {
	if python := os.Getenv("PYTHON"); python != "" {
		return python
	}
	return "python3"
}

// Server is a running moto. Its state is in memory and is lost when it ends.
type Server struct {
	endpoint string
	stdin    io.Closer
	done     chan struct{}
}

// Start starts moto on a free port and returns once it answers. The server ends with
// Close, with ctx, or with this process.
func Start(ctx context.Context, python string) (*Server, error) {
	cmd := exec.CommandContext(ctx, python, "-c", program)
	child.Prepare(cmd)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting moto: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting moto: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting moto with %s: %w", python, err)
	}
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = cmd.Wait() // stderr says more
		return nil, fmt.Errorf("starting moto with %s (infra/local/python.sh prints an interpreter that has it): %s", python, lastLine(stderr.String()))
	}
	server := &Server{endpoint: "http://127.0.0.1:" + strings.TrimSpace(port), stdin: stdin, done: make(chan struct{})}
	go func() {
		defer close(server.done)
		_ = cmd.Wait() // Close, ctx or a crash ended it
	}()
	return server, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// Endpoint returns the value for AWS_ENDPOINT_URL.
func (s *Server) Endpoint() string { return s.endpoint }

// Done returns a channel that is closed when moto has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Close ends moto and waits until it has.
func (s *Server) Close() {
	_ = s.stdin.Close() // it ends when its input does
	<-s.done
}

// client is shared by all configurations, so that their requests use connections again.
var client = awsclient.WholeAnswers(awshttp.NewBuildableClient())

// Config returns the AWS configuration for an emulator at the endpoint. The credentials
// are made up, because emulators do not check them.
func Config(endpoint string) aws.Config {
	return aws.Config{
		Region:       Region,
		BaseEndpoint: &endpoint,
		HTTPClient:   client,
		Credentials:  credentials.NewStaticCredentialsProvider("local", "local", ""),
	}
}
