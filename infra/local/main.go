// Command local runs Container Triggers on this machine without Docker or an AWS account:
// the local cloud with the project's template, and a demo container with a trigger that
// calls it every minute.
//
// PORT is the API's port (3000). If AWS_ENDPOINT_URL is set, the command uses the AWS
// emulator there instead of starting one. With DOCKER=1, containers on this machine reach
// the emulator and the demo container, as `sam local` needs it. PYTHON is an interpreter
// with the packages of requirements.txt; python.sh prints one.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"containertriggers/infra/local/cloud"
	"containertriggers/infra/local/moto"
)

// lambdaRetryDelay is how long Lambda waits before it runs a failed asynchronous
// invocation again for the first time.
const lambdaRetryDelay = time.Minute

// mappingTime is how long changes of event source mappings last here. On AWS it may take a
// minute (Lambda Developer Guide, "How Lambda processes records from stream and queue-based
// event sources").
const mappingTime = 3 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "local cloud:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	out := &printer{}
	slog.SetDefault(slog.New(slog.NewTextHandler(out, nil)))
	port := cmp.Or(os.Getenv("PORT"), "3000")
	c := &cloud.Cloud{
		Root: ".", Python: moto.Python(), Address: "127.0.0.1:" + port, Endpoint: os.Getenv("AWS_ENDPOINT_URL"),
		Now: time.Now, RetryDelay: lambdaRetryDelay, MappingTime: mappingTime, Log: out.functionLine,
	}
	var containersHost string // under which containers reach this machine
	if os.Getenv("DOCKER") != "" {
		var err error
		if containersHost, c.BridgeAddress, err = bridge(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "starting the local cloud …")
	err := c.Start(ctx)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %s is taken: stop what listens there, or choose another one with PORT=…", port)
	}
	if err != nil {
		return err
	}
	defer c.Close()

	demo, err := startDemo(out, c.BridgeAddress)
	if err != nil {
		return err
	}
	defer demo.close()
	env, err := prepare(ctx, c, demo.url)
	if err != nil {
		return err
	}
	path := filepath.Join(".local", "env")
	if err := env.write(path); err != nil {
		return err
	}
	samples := demo.url
	if containersHost != "" {
		samples = at(containersHost, demo.url)
		samEnvironment := filepath.Join(".local", "sam-env.json")
		if err := writeSAM(samEnvironment, c, containersHost); err != nil {
			return err
		}
		defer func() { _ = os.Remove(samEnvironment) }() // it leads nowhere once this has ended
	}
	go keepSamples(ctx, c, samples)
	fmt.Fprintf(out, welcome, env.console(), c.APIURL(), c.AWSEndpoint(), c.NATSURL(), demo.url, path)

	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "stopping …")
		return nil
	case <-c.Ended():
		return cloud.ErrEnded
	}
}

const welcome = `
Container Triggers is running; Ctrl-C stops it.

  console         %s
  API             %s
  AWS             %s
  NATS            %s
  demo container  %s, called by a trigger at every full minute: watch it here

In another terminal:

  source %s
  curl -H "X-Auth-Token: $SCW_SECRET_KEY" "$SCW_API_URL/containers/v1/regions/$SCW_DEFAULT_REGION/triggers"
  curl -H "X-Auth-Token: $SCW_SECRET_KEY" "$SCW_API_URL/containers/v1/regions/$SCW_DEFAULT_REGION/trigger-runs?trigger_id=$TRIGGER_ID"
  aws sqs create-queue --queue-name orders   # events/README.md has a trigger for it
  scw container trigger create container-id=$CONTAINER_ID name=mine cron-config.schedule="*/2 * * * *" cron-config.timezone=Europe/Paris

`

// printer writes lines of many goroutines to standard output, one at a time.
type printer struct{ mu sync.Mutex }

func (p *printer) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return os.Stdout.Write(text)
}

// functionLine prints a line of a function's log.
func (p *printer) functionLine(function, line string) {
	fmt.Fprintf(p, "%-18s| %s\n", function, line)
}
