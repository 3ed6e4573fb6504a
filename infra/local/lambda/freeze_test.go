package lambda_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestInvoke_FreezesTheProcessBetweenInvocations(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	pid, err := b.invoke("process")
	if err != nil {
		t.Fatal(err)
	}
	frozen := func() bool { return strings.HasPrefix(state(t, pid), "T") }
	b.eventually("it is frozen after its first invocation", frozen)
	release := b.hold()
	if frozen() {
		t.Error("it is frozen in an invocation")
	}
	release()
	b.eventually("it is frozen after its second invocation", frozen)
	if again, err := b.invoke("process"); err != nil || again != pid {
		t.Errorf("got process %s, %v, want %s again", again, err, pid)
	}
}

// state returns a process's state, as ps shows it.
func state(t *testing.T, pid string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "ps", "-o", "state=", "-p", pid).Output()
	if err != nil {
		t.Fatalf("looking at the process %s: %v", pid, err)
	}
	return string(output)
}

// keepAlive is how long gunicorn keeps an idle connection, the shortest time of the common
// servers.
const keepAlive = 2 * time.Second

// impatient is a container that keeps an idle connection for keepAlive.
type impatient struct {
	net.Listener
	forgotten chan struct{} // has a value for each connection that it no longer keeps
}

func newImpatient(t *testing.T) *impatient {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	c := &impatient{listener, make(chan struct{}, 10)}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return // the test has ended
			}
			go c.serve(connection.(*net.TCPConn))
		}
	}()
	return c
}

// serve answers requests until the connection has been idle for too long. A frozen function
// gets no packet that says so, therefore serve sends none. It resets the connection when the
// function uses it again.
func (c *impatient) serve(connection *net.TCPConn) {
	defer func() { _ = connection.Close() }()
	reader := bufio.NewReader(connection)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			break
		}
		_, _ = io.Copy(io.Discard, request.Body) // of the test's own client
		fmt.Fprint(connection, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_ = connection.SetReadDeadline(time.Now().Add(keepAlive))
	}
	c.forgotten <- struct{}{}
	_ = connection.SetReadDeadline(time.Time{})
	_, _ = connection.Read(make([]byte, 1)) // waits for whatever comes
	_ = connection.SetLinger(0)             // Close resets
}

func TestInvoke_CallsAContainerThatDroppedTheConnectionDuringTheFreeze(t *testing.T) {
	t.Parallel()
	b, c := setup(t, nil), newImpatient(t)
	for call := range 2 {
		if call > 0 {
			<-c.forgotten
		}
		if _, err := b.invoke("call http://" + c.Addr().String()); err != nil {
			t.Fatal(err)
		}
	}
}
