package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"containertriggers/infra/local/cloud"
)

// demo is a container that prints every request that it gets.
type demo struct {
	url    string
	server *http.Server
}

// maxShown is the number of bytes of a body that demo prints.
const maxShown = 1000

// startDemo starts the demo container. It also listens on bridgeAddress, if that is
// not empty.
func startDemo(out io.Writer, bridgeAddress string) (*demo, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the demo container: %w", err)
	}
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, maxShown)) // what came is shown
		var text strings.Builder
		fmt.Fprintf(&text, "demo container    | %s %s %s\n", time.Now().Format(time.TimeOnly), r.Method, r.URL.RequestURI())
		names := make([]string, 0, len(r.Header))
		for name := range r.Header {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(&text, "                  |   %s: %s\n", name, strings.Join(r.Header[name], ", "))
		}
		if len(body) > 0 {
			fmt.Fprintf(&text, "                  |   %q\n", body)
		}
		_, _ = io.WriteString(out, text.String()) // to the terminal
	})
	d := &demo{url: "http://" + listener.Addr().String(), server: &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = d.server.Serve(listener) }() // until it is closed
	if bridgeAddress == "" {
		return d, nil
	}
	bridge, err := cloud.SamePort(listener, bridgeAddress)
	if err != nil {
		d.close()
		return nil, err
	}
	go func() { _ = d.server.Serve(bridge) }() // until it is closed
	return d, nil
}

func (d *demo) close() { _ = d.server.Close() }
