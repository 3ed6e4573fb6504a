// Package moto runs moto, a maintained emulator of AWS, as a server on the
// loopback address.
package moto

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"containertriggers/infra/local/child"
)

// Region is the AWS region that the emulator plays.
const Region = "us-east-1"

//go:embed server.py
var program string

// Python is the interpreter that has moto: what infra/local/python.sh prints,
// which the Makefile hands over in PYTHON, or python3.
func Python() string {
	if python := os.Getenv("PYTHON"); python != "" {
		return python
	}
	return "python3"
}

// Server is a running moto. Its state is in memory and ends with it.
type Server struct {
	endpoint string
	stdin    io.Closer
	done     chan struct{}
	err      error // why it ended; read after done
}

// Start starts moto on a free port and returns once it answers. It ends with
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
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			server.err = errors.New("moto ended: " + lastLine(stderr.String()))
		}
	}()
	return server, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// Endpoint is what AWS_ENDPOINT_URL is set to.
func (s *Server) Endpoint() string { return s.endpoint }

// Done is closed when moto has ended; Err then says why, nil if it was asked to.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is why moto ended. Call it after Done.
func (s *Server) Err() error { return s.err }

// Close ends moto and waits until it has.
func (s *Server) Close() {
	_ = s.stdin.Close() // it ends when its input does
	<-s.done
}

// Config is the AWS configuration for an emulator at the endpoint. The
// credentials are made up; no emulator looks at them.
func Config(endpoint string) aws.Config {
	return aws.Config{
		Region:       Region,
		BaseEndpoint: &endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider("local", "local", ""),
	}
}
