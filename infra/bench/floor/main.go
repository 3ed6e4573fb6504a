// Command floor sends an HTTP request for each message of a NATS subject, like the relay
// but without its guarantees. IN-FLIGHT limits the requests at the same time.
//
// Usage: floor NATS-URL SUBJECT HTTP-URL IN-FLIGHT. It prints "ready" and runs until
// its standard input ends.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/nats-io/nats.go"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(natsURL, subject, containerURL, inFlight string) error {
	n, err := strconv.Atoi(inFlight)
	if err != nil {
		return err
	}
	conn, err := nats.Connect(natsURL)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	slots := make(chan struct{}, n)
	_, err = conn.QueueSubscribe(subject, "floor", func(m *nats.Msg) {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			response, err := client.Post(containerURL, "text/plain", bytes.NewReader(m.Data))
			if err != nil {
				fmt.Fprintln(os.Stderr, "floor:", err)
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}()
	})
	if err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
