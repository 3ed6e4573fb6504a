package natsconn

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// These limits apply to data from a NATS server. The client (nats.go 1.55) trusts the
// server: it buffers a line until its end, and allocates as many bytes as the line of
// a message announces, or panics if it cannot. Without limits, one server could end
// the relay of all triggers on the shard.
const (
	// maxLine limits a protocol line, in bytes. The longest line is the server's INFO
	// with the URLs of its cluster; servers accept lines of 4 KiB (max_control_line).
	maxLine = 64 << 10
	// MaxMessage limits a message with its headers, in bytes. NATS recommends no more
	// (NATS documentation, max_payload).
	MaxMessage = 8 << 20
	// minRead is the least room for a read of new data.
	minRead = 4 << 10
)

// ErrProtocolLimit is the error of a connection if its server exceeds the limits, or does
// not speak the NATS protocol.
var ErrProtocolLimit = errors.New("the server exceeds the limits of the NATS protocol")

// limitedConn is a connection that closes before it passes on data beyond the limits. It
// leaves out messages that admit refuses. Only one goroutine at a time may read from it.
type limitedConn struct {
	net.Conn
	admit    func(unprocessed int) bool
	buffered []byte // bytes that the reader gets before new data

	line    []byte // the start of an incomplete line
	payload int    // the bytes of a message that have not come yet
	tail    bool   // true after a message's payload until the end of its line
	refused bool   // true while the present message is left out
	// size is the size of the present message. unprocessed is the size of the messages
	// that the reader did not have in whole before this read.
	size, unprocessed int
}

// Read reads data of the server. It closes the connection and returns an
// ErrProtocolLimit if the data exceeds the limits.
func (c *limitedConn) Read(into []byte) (int, error) {
	for {
		if len(c.buffered) > 0 {
			n := copy(into, c.buffered)
			c.buffered = c.buffered[n:]
			return n, nil
		}
		// The start of a message's line goes before the new data, because Read passes it
		// on only if the message is admitted.
		held, data := 0, into
		if c.holdsLine() {
			if len(into) < len(c.line)+minRead {
				data = make([]byte, len(c.line)+minRead)
			}
			held, c.line = copy(data, c.line), c.line[:0]
		}
		n, err := c.Conn.Read(data[held:])
		n, problem := c.check(data[:held+n])
		if problem != nil {
			_ = c.Close()
			return 0, problem
		}
		if len(data) != len(into) {
			c.buffered = data[:n]
			n = 0
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// holdsLine reports whether line is the start of a message's line, which the reader does
// not have yet.
func (c *limitedConn) holdsLine() bool {
	return c.admit != nil && len(c.line) > 0 && startsMessage(c.line)
}

// check returns an ErrProtocolLimit if the next data of the server exceeds the limits.
// Otherwise it moves what the reader gets to the start of data, and returns its length.
// It follows the protocol (NATS documentation, "Client Protocol"), which consists of
// lines. The line of a message announces the size of its payload.
func (c *limitedConn) check(data []byte) (passed int, err error) {
	pass := func(part []byte) {
		if !c.refused {
			passed += copy(data[passed:], part)
		}
	}
	c.unprocessed = 0
	if (c.payload > 0 || c.tail) && !c.refused {
		c.unprocessed = c.size
	}
	for rest := data; len(rest) > 0; {
		if c.payload > 0 {
			n := min(c.payload, len(rest))
			pass(rest[:n])
			c.payload, rest = c.payload-n, rest[n:]
			continue
		}
		end := bytes.IndexByte(rest, '\n')
		part := rest
		if end >= 0 {
			part = rest[:end]
		}
		if c.tail { // the client skips bytes between a payload and the end of its line
			pass(rest[:len(part)+min(end+1, 1)])
			if end < 0 {
				return passed, nil
			}
			c.tail, c.refused, rest = false, false, rest[end+1:]
			continue
		}
		if len(c.line)+len(part) > maxLine {
			return 0, fmt.Errorf("%w: a line of more than %d bytes", ErrProtocolLimit, maxLine)
		}
		if end < 0 {
			c.line = append(c.line, part...)
			if !c.holdsLine() {
				pass(part)
			}
			return passed, nil
		}
		line := part
		if len(c.line) > 0 {
			line = append(c.line, part...)
		}
		size, isMessage := messageSize(line)
		if size < 0 || size > MaxMessage {
			return 0, fmt.Errorf("%w: %.100q", ErrProtocolLimit, line)
		}
		if isMessage && c.admit != nil {
			c.refused = !c.admit(c.unprocessed + size)
			if !c.refused {
				c.unprocessed += size
			}
		}
		pass(rest[:end+1])
		c.line, c.payload, c.size, c.tail, rest = c.line[:0], size, size, isMessage, rest[end+1:]
	}
	return passed, nil
}

// startsMessage reports whether a line is the start of MSG or HMSG.
func startsMessage(line []byte) bool {
	return len(line) > 0 && (line[0] == 'M' || line[0] == 'm' || line[0] == 'H' || line[0] == 'h')
}

// messageSize returns the size of the payload that a line announces, which is the last
// field of MSG and HMSG. It returns -1 if that field is not a number.
func messageSize(line []byte) (size int, isMessage bool) {
	if !startsMessage(line) {
		return 0, false
	}
	line = bytes.TrimRight(line, "\r")
	size, err := strconv.Atoi(string(line[bytes.LastIndexAny(line, " \t")+1:]))
	if err != nil {
		return -1, true
	}
	return size, true
}
