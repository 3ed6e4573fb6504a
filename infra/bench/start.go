package main

import (
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

// starts is how often each binary is started; in turns, so that what else the
// machine does hits all of them.
const starts = 25

func startTable(ctx context.Context) error {
	binaries, err := filepath.Glob(filepath.Join(".build", "*", "bootstrap"))
	if err != nil {
		return err
	}
	binaries = append([]string{helloBinary}, binaries...)
	took := map[string][]time.Duration{}
	for range starts {
		for _, binary := range binaries {
			d, err := start(ctx, binary)
			if err != nil {
				return fmt.Errorf("starting %s: %w", binary, err)
			}
			took[binary] = append(took[binary], d)
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
		rows = append(rows, []string{name, ms(d), fmt.Sprintf("x%.2f", float64(d)/float64(floor)), fmt.Sprintf("%.1f MB", float64(info.Size())/1e6)})
	}
	table("function\tstart\tratio\tbinary\t", rows)
	return nil
}

func median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

// start starts a function and tells how long it took to ask for work.
func start(ctx context.Context, binary string) (time.Duration, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
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
	defer server.Close()

	cmd := exec.CommandContext(ctx, binary)
	child.Prepare(cmd)
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + listener.Addr().String(), "AWS_LAMBDA_FUNCTION_NAME=bench", "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "REGIONS=fr-par", "AWS_ENDPOINT_URL=http://127.0.0.1:1",
		"MAX_DELIVERIES=3", "QUEUE_CONCURRENCY=20", "RELAY_SHARDS=1", "RELAY_CONCURRENCY=256",
	}
	for _, name := range []string{
		"KEYS_TABLE", "TRIGGERS_TABLE", "CONTAINERS_TABLE", "INVOCATIONS_TABLE", "CLAIMS_TABLE", "KMS_KEY_ID", "EVENT_BUS", "SCHEDULE_GROUP",
		"DEAD_LETTERS_URL",
	} {
		cmd.Env = append(cmd.Env, name+"=bench")
	}
	for _, name := range []string{
		"SCHEDULER_ROLE_ARN", "SCHEDULE_DLQ_ARN", "DISPATCH_SCHEDULE_ARN", "DISPATCH_QUEUE_ARN", "DISPATCH_QUEUE_LONG_ARN", "RELAY_ARN", "DEAD_LETTERS_ARN",
	} {
		cmd.Env = append(cmd.Env, name+"=arn:aws:lambda:us-east-1:123456789012:function:bench")
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		child.Kill(cmd.Process)
		_ = cmd.Wait() // it was killed
	}()
	select {
	case at := <-polled:
		return at.Sub(began), nil
	case <-time.After(10 * time.Second):
		return 0, fmt.Errorf("it did not ask for work")
	}
}
