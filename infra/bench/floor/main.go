// Command floor sends an HTTP request for each message of a source, like the relay but
// without its guarantees. IN-FLIGHT limits the requests at the same time.
//
// Usage: floor KIND URL NAME HTTP-URL IN-FLIGHT. The kinds are
//
//	core       the subject NAME of the NATS server URL
//	jetstream  the same subject, from the stream that keeps its messages
//	sqs        the queue with the URL NAME, at the endpoint URL
//
// It prints "ready" and runs until its standard input ends.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/nats-io/nats.go"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("want 5 arguments, not %d", len(args))
	}
	kind, url, name := args[0], args[1], args[2]
	n, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	f := floor{
		containerURL: args[3], inFlight: n, slots: make(chan struct{}, n),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}},
	}
	begin := map[string]func(url, name string) error{"core": f.core, "jetstream": f.jetStream, "sqs": f.sqs}[kind]
	if begin == nil {
		return fmt.Errorf("unknown kind %s", kind)
	}
	if err := begin(url, name); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// floor calls a container.
type floor struct {
	containerURL string
	client       *http.Client
	inFlight     int
	// slots holds an element for each request in flight.
	slots chan struct{}
}

// call sends a message to the container.
func (f floor) call(data []byte) error {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, f.containerURL, bytes.NewReader(data))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "text/plain")
	response, err := f.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// tell prints an error that does not end the floor.
func tell(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
	}
}

func (f floor) core(url, subject string) error {
	conn, err := nats.Connect(url)
	if err != nil {
		return err
	}
	_, err = conn.QueueSubscribe(subject, "floor", func(m *nats.Msg) {
		f.slots <- struct{}{}
		go func() {
			defer func() { <-f.slots }()
			tell(f.call(m.Data))
		}()
	})
	if err != nil {
		return err
	}
	return conn.Flush()
}
