// Command probe is a function that follows the order in its event.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

func main() {
	if os.Getenv("BREAK") == "init" {
		fmt.Println("cannot start")
		os.Exit(3)
	}
	calls := 0
	handle := func(ctx context.Context, what string) (string, error) {
		calls++
		run, _ := lambdacontext.FromContext(ctx)
		if endpoint, ok := strings.CutPrefix(what, "call "); ok {
			return "called", call(ctx, endpoint)
		}
		switch what {
		case "process":
			return fmt.Sprint(os.Getpid()), nil
		case "hold":
			return hold()
		case "environment":
			return strings.Join(os.Environ(), "\n"), nil
		case "count":
			return fmt.Sprint(calls), nil
		case "id":
			fmt.Println("id " + run.AwsRequestID)
			return "", errors.New("no")
		case "crash":
			fmt.Println("last words")
			os.Exit(7)
		case "sleep":
			<-ctx.Done()
			select {}
		case "memory":
			fill(make([]byte, 150<<20))
			debug.FreeOSMemory()
		case "memory and wait":
			held := fill(make([]byte, 150<<20))
			<-ctx.Done()
			return fmt.Sprint(len(held)), nil
		case "files":
			for opened := 0; ; opened++ {
				if _, err := os.Open(os.DevNull); err != nil {
					return fmt.Sprint(opened, " ", err), nil
				}
			}
		case "huge":
			return strings.Repeat("x", 7<<20), nil
		}
		return run.InvokedFunctionArn, nil
	}
	if os.Getenv("SIGTERM") == "" {
		lambda.Start(handle)
	}
	lambda.StartWithOptions(handle, lambda.WithEnableSIGTERM(func() {
		fmt.Println("told to end")
		if os.Getenv("SIGTERM") == "obey" {
			os.Exit(0)
		}
	}))
}

// client calls containers, as the dispatchers do.
var client = invoke.New(invoke.Settings{AllowPrivate: true})

func call(ctx context.Context, endpoint string) error {
	to := container.Container{PublicEndpoint: endpoint, Timeout: 10 * time.Second}
	t := trigger.Trigger{Destination: trigger.Destination{HTTPMethod: "post", HTTPPath: "/"}}
	return client.Call(ctx, invoke.NewRoute(t, to, ""), invoke.Event{ID: "id", Type: "type", Body: []byte("body")})
}

// hold says that it runs, and ends once the test closes its connection.
func hold() (string, error) {
	connection, err := net.Dial("tcp", os.Getenv("HOLD"))
	if err != nil {
		return "", err
	}
	defer connection.Close()
	_, err = io.Copy(io.Discard, connection)
	return "held", err
}

// fill writes to all of memory, so that the system must provide it.
func fill(memory []byte) []byte {
	for i := range memory {
		memory[i] = 1
	}
	return memory
}
