package lambda

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"containertriggers/infra/local/child"
)

// maxResponse is what Lambda lets a function answer, in bytes.
const maxResponse = 6 << 20

// environment is an execution environment: one process of a function, which
// works on one invocation at a time.
type environment struct {
	function Function
	cmd      *exec.Cmd
	api      *http.Server
	next     chan *invocation

	wantsSignal atomic.Bool

	mu      sync.Mutex
	current *invocation

	exited  chan struct{}
	exitErr error // why the process ended; read after exited
}

// invocation is one run of a function.
type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
	// started is closed when the function has taken the invocation: its time runs
	// from then on.
	started chan struct{}
	done    chan outcome
}

type outcome struct {
	payload []byte
	err     error
}

// newEnvironment starts a process of the function. What it writes goes to log,
// line by line.
func newEnvironment(ctx context.Context, f Function, extra map[string]string, log func(line string)) (*environment, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serving the runtime API: %w", err)
	}
	e := &environment{function: f, next: make(chan *invocation), exited: make(chan struct{})}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", e.serveNext)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", e.serveResponse)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", e.serveError)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", e.serveInitError)
	// An extension without events: how a function asks for SIGTERM at its end.
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, _ *http.Request) {
		e.wantsSignal.Store(true)
		w.Header().Set("Lambda-Extension-Identifier", f.Name)
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	e.api = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = e.api.Serve(listener) }() // until it is closed

	e.cmd = exec.CommandContext(ctx, f.Binary)
	child.Prepare(e.cmd)
	e.cmd.Env = variables(f, listener.Addr().String(), extra)
	output, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", f.Name, err)
	}
	e.cmd.Stderr = e.cmd.Stdout
	if err := e.cmd.Start(); err != nil {
		_ = e.api.Close()
		return nil, fmt.Errorf("starting %s: %w (make build makes the binaries)", f.Name, err)
	}
	go func() {
		defer close(e.exited)
		lines := bufio.NewScanner(output)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			log(lines.Text())
		}
		e.exitErr = e.cmd.Wait()
		_ = e.api.Close()
	}()
	return e, nil
}

// variables is the environment that Lambda gives to a function: nothing of this
// process's own.
func variables(f Function, api string, extra map[string]string) []string {
	list := []string{
		"AWS_LAMBDA_RUNTIME_API=" + api,
		"AWS_LAMBDA_FUNCTION_NAME=" + f.Name,
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		// By this the guard knows whose call it is.
		"AWS_SESSION_TOKEN=" + f.Name,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + strconv.Itoa(f.MemoryMB),
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"_HANDLER=bootstrap",
		"LANG=en_US.UTF-8",
		"TZ=:UTC",
		"PATH=/usr/local/bin:/usr/bin:/bin",
	}
	for _, more := range []map[string]string{extra, f.Environment} {
		for name, value := range more {
			list = append(list, name+"="+value)
		}
	}
	return list
}

func (e *environment) serveNext(w http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case i := <-e.next:
		e.mu.Lock()
		e.current = i
		e.mu.Unlock()
		i.deadline = time.Now().Add(e.function.Timeout)
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Lambda-Runtime-Aws-Request-Id", i.id)
		header.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(i.deadline.UnixMilli(), 10))
		header.Set("Lambda-Runtime-Invoked-Function-Arn", e.function.ARN)
		close(i.started)
		_, _ = w.Write(i.payload) // a function that died is noticed by its exit
	}
}

func (e *environment) serveResponse(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxResponse+1))
	switch {
	case err != nil:
		e.finish(w, r, outcome{err: &Error{Type: "Runtime.Unknown", Message: err.Error()}})
	case len(body) > maxResponse:
		e.finish(w, r, outcome{err: &Error{
			Type:    "Function.ResponseSizeTooLarge",
			Message: fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", maxResponse),
		}})
	default:
		e.finish(w, r, outcome{payload: body})
	}
}

func (e *environment) serveError(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxResponse)) // what came is told
	e.finish(w, r, outcome{err: errorOf(body)})
}

// serveInitError takes note of a function that could not start; it exits next,
// which fails the invocation that it was started for.
func (e *environment) serveInitError(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusAccepted)
}

func (e *environment) finish(w http.ResponseWriter, r *http.Request, result outcome) {
	e.mu.Lock()
	current := e.current
	e.current = nil
	e.mu.Unlock()
	if current == nil || current.id != r.PathValue("id") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	current.done <- result
}

// run hands an invocation to the process and waits for its end. An environment
// whose run is not reusable is to be thrown away.
func (e *environment) run(ctx context.Context, i *invocation) (result outcome, reusable bool) {
	select {
	case e.next <- i:
	case <-e.exited:
		return outcome{err: e.exitError(i.id)}, false
	case <-ctx.Done():
		return outcome{err: ctx.Err()}, false
	}
	<-i.started
	timeout := time.NewTimer(e.function.Timeout)
	defer timeout.Stop()
	select {
	case result = <-i.done:
		return result, true
	case <-timeout.C:
		return outcome{err: &Error{
			Type:    "Sandbox.Timedout",
			Message: fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", i.id, e.function.Timeout.Seconds()),
		}}, false
	case <-e.exited:
		return outcome{err: e.exitError(i.id)}, false
	case <-ctx.Done():
		return outcome{err: ctx.Err()}, false
	}
}

func (e *environment) exitError(id string) *Error {
	reason := "exit status 0"
	if e.exitErr != nil {
		reason = strings.TrimPrefix(e.exitErr.Error(), "signal: ")
	}
	return &Error{Type: "Runtime.ExitError", Message: "RequestId: " + id + " Error: Runtime exited with error: " + reason}
}

// shutdownTime is what Lambda gives a function that asked for SIGTERM (Lambda
// Developer Guide, "Lambda execution environment lifecycle").
const shutdownTime = 2 * time.Second

// close ends the process and waits until it is gone: at once, unless it asked to
// be told.
func (e *environment) close() {
	if e.wantsSignal.Load() && e.cmd.Process.Signal(syscall.SIGTERM) == nil {
		select {
		case <-e.exited:
			return
		case <-time.After(shutdownTime):
		}
	}
	child.Kill(e.cmd.Process)
	<-e.exited
}
