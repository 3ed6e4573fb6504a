package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// container answers after a delay, and records the ages of messages.
type container struct {
	url    string
	server *http.Server
	taken  atomic.Int64

	mu   sync.Mutex
	ages []time.Duration
}

func newContainer(takes time.Duration) (*container, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &container{url: "http://" + listener.Addr().String()}
	c.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var payload [messageSize]byte
		if _, err := io.ReadFull(r.Body, payload[:]); err != nil {
			return
		}
		age, err := ageOf(payload[:])
		if err != nil {
			return
		}
		if takes > 0 {
			time.Sleep(takes) //nolint:forbidigo // the work of the container
		}
		c.mu.Lock()
		c.ages = append(c.ages, age)
		c.mu.Unlock()
		c.taken.Add(1)
	})}
	go func() { _ = c.server.Serve(listener) }() // until it is closed
	return c, nil
}

// newPayload returns a payload with a stamp.
func newPayload() []byte {
	payload := bytes.Repeat([]byte{'.'}, messageSize)
	stamp(payload)
	return payload
}

// stamp writes the time into a payload. It writes text, because queues accept only text.
func stamp(payload []byte) { strconv.AppendInt(payload[:0], time.Now().UnixNano(), 10) }

// stampSize is the number of digits of a time until the year 2286.
const stampSize = 19

// ageOf returns the time since stamp.
func ageOf(payload []byte) (time.Duration, error) {
	at, err := strconv.ParseInt(string(payload[:stampSize]), 10, 64)
	return time.Since(time.Unix(0, at)), err
}

func (c *container) close() { _ = c.server.Close() }

func (c *container) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ages = nil
	c.taken.Store(0)
}

func (c *container) latencies() (p50, p99 time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.ages)
	return c.ages[len(c.ages)/2], c.ages[len(c.ages)*99/100]
}
