package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"
)

// What a NATS server may send. The client (nats.go 1.55) takes the server at its
// word: it keeps whatever comes before a line's end, and makes room for as many
// bytes as the line of a message says, or panics where it cannot. One server would
// end the relay of everybody on the shard.
const (
	// maxLine is of a protocol line, the server's INFO with the URLs of its cluster
	// included; servers take lines of 4 KiB (max_control_line).
	maxLine = 64 << 10
	// maxMessage is of a message with its headers: what NATS recommends at most (NATS
	// documentation, max_payload).
	maxMessage = 8 << 20
)

// errAbsurd says that a server sends what no server of its kind does.
var errAbsurd = errors.New("beyond the protocol's bounds")

// natsDialer reaches the servers of one trigger, and has the client see nothing of
// them but what is within bounds. For that it must look inside of TLS, and so begin
// it by itself, as the client would: after the server's INFO.
type natsDialer struct {
	*net.Dialer
	// roots are whose certificates are trusted, nil for the system's.
	roots *x509.CertPool
	// named is the last server that was dialled by its name: a server's certificate is
	// for the name by which its cluster was found, and the cluster tells of it by its
	// address.
	named atomic.Pointer[string]
}

// SkipTLSHandshake tells the client that TLS has begun where it is to.
func (*natsDialer) SkipTLSHandshake() bool { return true }

// Dial connects to a server, whose INFO is then the first that there is to read.
func (d *natsDialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline) // it fails only where what follows does
	screened, err := d.meet(ctx, conn, address)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return screened, nil
}

func (d *natsDialer) meet(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	line, err := readLine(conn)
	if err != nil {
		return nil, err
	}
	var info struct {
		Required  bool `json:"tls_required"`
		Available bool `json:"tls_available"`
	}
	_, text, _ := bytes.Cut(line, []byte(" "))
	if err := json.Unmarshal(text, &info); err != nil {
		return nil, fmt.Errorf("%w: %.100q", errAbsurd, line)
	}
	if info.Required || info.Available {
		secured := tls.Client(conn, d.config(address))
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secured
	}
	return &screened{Conn: conn, first: line}, nil
}

// config verifies a server's certificate.
func (d *natsDialer) config(address string) *tls.Config {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if net.ParseIP(host) == nil {
		d.named.Store(&host)
	} else if named := d.named.Load(); named != nil {
		host = *named
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: d.roots, ServerName: host}
}

// readLine reads up to the first line's end, and nothing behind it: that is TLS's.
func readLine(conn net.Conn) ([]byte, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < maxLine; {
		n, err := conn.Read(one)
		if n > 0 {
			if line = append(line, one[0]); one[0] == '\n' {
				return line, nil
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: a line of more than %d bytes", errAbsurd, maxLine)
}

// screened is a connection that ends before it brings what is beyond bounds. It is
// read by one goroutine at a time.
type screened struct {
	net.Conn
	first []byte // to be read before all else

	line    []byte // of the line that has not ended
	payload int    // how much of a message is still to come
	tail    bool   // behind a message, up to the line's end
}

// Read gives what the server sent, or why it cannot be let through.
func (s *screened) Read(into []byte) (int, error) {
	if len(s.first) > 0 {
		n := copy(into, s.first)
		s.first = s.first[n:]
		return n, nil
	}
	n, err := s.Conn.Read(into)
	if problem := s.screen(into[:n]); problem != nil {
		_ = s.Close()
		return 0, problem
	}
	return n, err
}

// screen follows the protocol (NATS documentation, "Client Protocol"): lines, of
// which those of messages say how much comes behind them.
func (s *screened) screen(data []byte) error {
	for len(data) > 0 {
		if s.payload > 0 {
			n := min(s.payload, len(data))
			s.payload, data = s.payload-n, data[n:]
			continue
		}
		end := bytes.IndexByte(data, '\n')
		part := data
		if end >= 0 {
			part = data[:end]
		}
		if s.tail {
			part = nil // the client reads over it
		}
		if len(s.line)+len(part) > maxLine {
			return fmt.Errorf("%w: a line of more than %d bytes", errAbsurd, maxLine)
		}
		if end < 0 {
			s.line = append(s.line, part...)
			return nil
		}
		line := part
		if len(s.line) > 0 {
			line = append(s.line, part...)
		}
		size, isMessage := messageSize(line)
		if size < 0 || size > maxMessage {
			return fmt.Errorf("%w: %.100q", errAbsurd, line)
		}
		s.line, s.payload, s.tail, data = s.line[:0], size, isMessage, data[end+1:]
	}
	return nil
}

// messageSize is how much comes behind a line: the last field of MSG and HMSG, -1
// where that is no number.
func messageSize(line []byte) (size int, isMessage bool) {
	if len(line) == 0 || line[0] != 'M' && line[0] != 'm' && line[0] != 'H' && line[0] != 'h' {
		return 0, false
	}
	line = bytes.TrimRight(line, "\r")
	size, err := strconv.Atoi(string(line[bytes.LastIndexAny(line, " \t")+1:]))
	if err != nil {
		return -1, true
	}
	return size, true
}
