package lambda

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"containertriggers/infra/local/child"
)

const (
	// maxResponse is the maximum size of an answer, in bytes.
	maxResponse = 6 << 20
	// maxFiles is how many file descriptors a function may have open (Lambda Developer
	// Guide, "Lambda quotas").
	maxFiles = 1024
	// watchEvery is how often a running function's memory is compared with its MemorySize.
	watchEvery = 50 * time.Millisecond
)

// environment is an execution environment: one process of a function, which
// works on one invocation at a time.
type environment struct {
	function Function
	cmd      *exec.Cmd
	api      *http.Server
	next     chan *invocation
	log      func(line string)

	wantsSignal atomic.Bool

	mu      sync.Mutex
	current *invocation
	closing bool // it is not frozen any more

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

// newEnvironment starts a process of the function. The process's output goes to log, line by
// line.
func newEnvironment(f Function, extra map[string]string, log func(line string)) (*environment, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serving the runtime API: %w", err)
	}
	e := &environment{function: f, next: make(chan *invocation), log: log, exited: make(chan struct{})}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", e.serveNext)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", e.serveResponse)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", e.serveError)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", e.serveInitError)
	// An internal extension without events: how a function asks for SIGTERM at its end.
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, _ *http.Request) {
		e.wantsSignal.Store(true)
		w.Header().Set("Lambda-Extension-Identifier", f.Name)
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	e.api = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}

	e.cmd = exec.CommandContext(context.Background(), f.Binary) // close ends it
	child.Prepare(e.cmd)
	child.LimitFiles(e.cmd, maxFiles)
	e.cmd.Env = variables(f, listener.Addr().String(), extra)
	output, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", f.Name, err)
	}
	e.cmd.Stderr = e.cmd.Stdout
	if err := e.cmd.Start(); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("starting %s: %w (make build makes the binaries)", f.Name, err)
	}
	// Now that there is a process to freeze.
	go func() { _ = e.api.Serve(listener) }() // until it is closed
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
// process's own (Lambda Developer Guide, "Defined runtime environment variables"; OS-only
// runtimes have no AWS_EXECUTION_ENV).
func variables(f Function, api string, extra map[string]string) []string {
	list := []string{
		"AWS_LAMBDA_RUNTIME_API=" + api,
		"AWS_LAMBDA_FUNCTION_NAME=" + f.Name,
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		// The guard finds the function's role by it.
		"AWS_SESSION_TOKEN=" + f.Name,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + strconv.Itoa(f.MemoryMB),
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/" + f.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME=local",
		"LAMBDA_TASK_ROOT=" + filepath.Dir(f.Binary),
		"LAMBDA_RUNTIME_DIR=/var/runtime",
		"_HANDLER=bootstrap",
		"LANG=en_US.UTF-8",
		"TZ=:UTC",
		"PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin",
	}
	for _, more := range []map[string]string{extra, f.Environment} {
		for name, value := range more {
			list = append(list, name+"="+value)
		}
	}
	return list
}

// serveNext gives the process its next invocation. Until there is one, the process is
// frozen: by asking for the next invocation, a runtime says that it is done with the last
// one (Lambda Developer Guide, "Understanding the Lambda execution environment
// lifecycle").
func (e *environment) serveNext(w http.ResponseWriter, r *http.Request) {
	var i *invocation
	select {
	case i = <-e.next:
	default:
		e.freeze()
		select {
		case i = <-e.next:
		case <-r.Context().Done():
			return
		}
		e.thaw()
	}
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

func (e *environment) freeze() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closing {
		_ = e.cmd.Process.Signal(syscall.SIGSTOP) // it may have ended
	}
}

func (e *environment) thaw() {
	_ = e.cmd.Process.Signal(syscall.SIGCONT) // it may have ended
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

// run passes an invocation to the process and returns its outcome. If it returns false for
// reusable, the caller must close the environment.
func (e *environment) run(ctx context.Context, i *invocation) (result outcome, reusable bool) {
	watch := time.NewTicker(watchEvery)
	defer watch.Stop()
	next := e.next
	var timeout <-chan time.Time
	for {
		select {
		case next <- i:
			next = nil
			<-i.started
			timeout = time.After(e.function.Timeout)
		case result = <-i.done:
			if e.exceedsMemory() {
				return outcome{err: e.outOfMemory(i.id)}, false
			}
			return result, true
		case <-watch.C:
			if e.exceedsMemory() {
				return outcome{err: e.outOfMemory(i.id)}, false
			}
		case <-timeout:
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
}

// exceedsMemory reports whether the process has ever had more memory than its function
// has. A peak between two looks is found as well.
func (e *environment) exceedsMemory() bool {
	return child.PeakMemory(e.cmd.Process) > e.function.MemoryMB<<20
}

// outOfMemory kills the process because of its memory, logs Lambda's report, and
// returns the failure of the invocation.
func (e *environment) outOfMemory(id string) *Error {
	e.log(fmt.Sprintf("REPORT RequestId: %s Memory Size: %d MB Max Memory Used: %d MB Status: error Error Type: Runtime.OutOfMemory",
		id, e.function.MemoryMB, child.PeakMemory(e.cmd.Process)>>20))
	child.Kill(e.cmd.Process)
	return &Error{Type: "Runtime.OutOfMemory", Message: "RequestId: " + id + " Error: Runtime exited with error: signal: killed"}
}

func (e *environment) exitError(id string) *Error {
	reason := "exit status 0"
	if e.exitErr != nil {
		reason = e.exitErr.Error()
	}
	return &Error{Type: "Runtime.ExitError", Message: "RequestId: " + id + " Error: Runtime exited with error: " + reason}
}

// shutdownTime is the time that a function with an internal extension has to shut down.
// One without extensions has no time and gets no SIGTERM (Lambda Developer Guide,
// "Understanding the Lambda execution environment lifecycle", Shutdown phase: 0 ms without
// extensions, 500 ms with an internal one, 2,000 ms with external ones).
const shutdownTime = 500 * time.Millisecond

// close ends the process and waits until it is gone. An environment that waits for its next
// invocation is shut down as Lambda does it. Lambda never shuts one down in an invocation,
// so that a process that has one is killed: its invocation failed, or the host ends.
func (e *environment) close() {
	e.mu.Lock()
	e.closing = true
	idle := e.current == nil
	e.mu.Unlock()
	if idle && e.wantsSignal.Load() {
		e.thaw()
		if e.cmd.Process.Signal(syscall.SIGTERM) == nil {
			select {
			case <-e.exited:
				return
			case <-time.After(shutdownTime):
			}
		}
	}
	child.Kill(e.cmd.Process)
	<-e.exited
}
