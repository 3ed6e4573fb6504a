package main

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
)

// Only Linux has all of 127.0.0.0/8 without set-up.
func TestStartDemo_AnswersAtBothAddresses(t *testing.T) {
	t.Parallel()
	const bridge = "127.0.0.2"
	d, err := startDemo(io.Discard, bridge)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	at, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{at.Hostname(), bridge} {
		answer, err := http.Get("http://" + net.JoinHostPort(address, at.Port()))
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s: got %d, %v", address, answer.StatusCode, err)
		}
	}
}
