package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"containertriggers/infra/local/child"
)

// startTable starts the floor and each function with its environment, and prints the
// times and the memory. They take turns, so that other work of the machine affects all of them.
func startTable(ctx context.Context, environments map[string]map[string]string, starts int) error {
	binaries, err := filepath.Glob(filepath.Join(".build", "*", "bootstrap"))
	if err != nil {
		return err
	}
	binaries = append([]string{helloBinary}, binaries...)
	took, peaks := map[string][]time.Duration{}, map[string][]int64{}
	for range starts {
		for _, binary := range binaries {
			d, peak, err := start(ctx, binary, environments[filepath.Base(filepath.Dir(binary))])
			if err != nil {
				return fmt.Errorf("starting %s: %w", binary, err)
			}
			took[binary], peaks[binary] = append(took[binary], d), append(peaks[binary], peak)
		}
	}
	floor := median(took[helloBinary])
	var rows [][]string
	for _, binary := range binaries {
		name := filepath.Base(filepath.Dir(binary))
		if binary == helloBinary {
			name = "hello-world"
		}
		info, err := os.Stat(binary)
		if err != nil {
			return err
		}
		d := median(took[binary])
		rows = append(rows, []string{name, ms(d), fmt.Sprintf("x%.2f", float64(d)/float64(floor)), megabytes(info.Size()), megabytes(median(peaks[binary]))})
	}
	table("function\tstart\tratio\tbinary\tpeak memory\t", rows)
	return nil
}

func median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

// start starts a function. It returns the time until it asks for its first event, and the
// largest resident memory that it has had until then, in bytes.
func start(ctx context.Context, binary string, environment map[string]string) (took time.Duration, peak int64, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	polled := make(chan time.Time, 1)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/2018-06-01/runtime/invocation/next" {
			polled <- time.Now()
			<-r.Context().Done()
			return
		}
		w.Header().Set("Lambda-Extension-Identifier", "bench")
	})}
	go func() { _ = server.Serve(listener) }() // until it is closed
	defer func() { _ = server.Close() }()

	cmd := exec.CommandContext(ctx, binary)
	child.Prepare(cmd)
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + listener.Addr().String(), "AWS_LAMBDA_FUNCTION_NAME=bench", "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512",
	}
	for name, value := range environment {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed, or its output tells why it ended
		close(ended)
	}()
	defer func() {
		child.Kill(cmd.Process)
		<-ended
	}()
	select {
	case at := <-polled:
		peak, err := peakOf(cmd.Process.Pid)
		return at.Sub(began), peak, err
	case <-ended:
		return 0, 0, fmt.Errorf("it ended: %s", bytes.TrimSpace(output.Bytes()))
	case <-time.After(10 * time.Second):
		return 0, 0, fmt.Errorf("it did not ask for work")
	}
}
