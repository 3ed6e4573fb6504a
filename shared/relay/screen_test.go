package relay

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"containertriggers/infra/local/natsd"
)

// hostile is a server that lets a client in, and then sends that, over and over.
func hostile(t *testing.T, info string, attack []byte) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, info)
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					if lines.Text() != "PING" {
						continue
					}
					_, _ = io.WriteString(conn, "PONG\r\n")
					for {
						if _, err := conn.Write(attack); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return "nats://" + listener.Addr().String()
}

const anInfo = `INFO {"server_id":"x","version":"2.11.0","proto":1,"headers":true,"max_payload":1048576}` + "\r\n"

func TestAHostileServerEndsItsOwnConnectionAlone(t *testing.T) {
	t.Parallel()
	line := bytes.Repeat([]byte("a"), 4096)
	for what, test := range map[string]struct{ info, attack string }{
		"a message larger than memory":             {anInfo, "MSG a 1 1000000000000000000\r\nabc"},
		"a message larger than numbers":            {anInfo, "MSG a 1 99999999999999999999999\r\nabc"},
		"a large message":                          {anInfo, "MSG a 1 8388609\r\nabc"},
		"a large message in lower case":            {anInfo, "msg a 1 8388609\r\nabc"},
		"a large message with headers":             {anInfo, "HMSG a 1 12 1000000000000\r\nNATS/1.0\r\n\r\n"},
		"a message of less than nothing":           {anInfo, "MSG a 1 -1\r\n"},
		"a message without a size":                 {anInfo, "MSG a 1 \r\n"},
		"a message behind a message's missing end": {anInfo, "MSG a 1 1\r\nabcdef\nMSG a 1 1000000000000\r\n"},
		"a line without an end":                    {anInfo, "MSG " + string(line)},
		"an error without an end":                  {anInfo, "-ERR " + string(line)},
		"an INFO without an end":                   {anInfo, "INFO {" + string(line)},
		"a first INFO without an end":              {"INFO {" + strings.Repeat("a", maxLine), "+OK\r\n"},
		"a first INFO that is none":                {"HTTP/1.1 400 Bad Request\r\n", "+OK\r\n"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 100)
			tell := func(_ *nats.Conn, err error) {
				select {
				case ended <- err:
				default:
				}
			}
			conn, err := nats.Connect(hostile(t, test.info, []byte(test.attack)), nats.SetCustomDialer(&natsDialer{Dialer: &net.Dialer{}}), nats.SkipHostLookup(),
				nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond), nats.DisconnectErrHandler(tell), nats.ReconnectErrHandler(tell))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			timeout := time.After(20 * time.Second)
			for {
				select {
				case err := <-ended:
					if errors.Is(err, errAbsurd) {
						if !strings.Contains(explain(err), "does not speak the NATS protocol") {
							t.Errorf("its owner reads %q", explain(err))
						}
						return
					}
				case <-timeout:
					t.Fatal("the connection did not end for what the server sent")
				}
			}
		})
	}
}

// pieces is a connection that gives what comes in given pieces.
type pieces struct {
	net.Conn
	left [][]byte
}

func (p *pieces) Read(into []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(into, p.left[0])
	if p.left[0] = p.left[0][n:]; len(p.left[0]) == 0 {
		p.left = p.left[1:]
	}
	return n, nil
}

func (p *pieces) Close() error { return nil }

func TestWhatServersSendComesThroughHoweverItIsCut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var sent bytes.Buffer
		for range rapid.IntRange(1, 20).Draw(t, "protocol messages") {
			payload := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload")
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				fmt.Fprintf(&sent, "MSG a.b 1 %d\r\n%s\r\n", len(payload), payload)
			case 1:
				fmt.Fprintf(&sent, "MSG a.b 1 reply.to %d\r\n%s\r\n", len(payload), payload)
			case 2:
				fmt.Fprintf(&sent, "HMSG a 1 12 %d\r\nNATS/1.0\r\n\r\n%s\r\n", len(payload)+12, payload)
			case 3:
				sent.WriteString("PING\r\n")
			case 4:
				sent.WriteString("-ERR 'MSG a 1 99999999999'\r\n")
			}
		}
		whole := bytes.Clone(sent.Bytes())
		var cut [][]byte
		for left := sent.Bytes(); len(left) > 0; {
			n := rapid.IntRange(1, len(left)).Draw(t, "piece")
			cut, left = append(cut, left[:n]), left[n:]
		}
		got, err := io.ReadAll(&screened{Conn: &pieces{left: cut}, first: []byte("INFO {}\r\n")})
		if err != nil || string(got) != "INFO {}\r\n"+string(whole) {
			t.Fatalf("got %q, %v, want %q", got, err, whole)
		}
	})
}

// certificate makes one for a name, and the pool that trusts it.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLSIsVerifiedByTheServersName(t *testing.T) {
	t.Parallel()
	own, trusted := certificate(t, "localhost")
	foreign, _ := certificate(t, "localhost")
	other, otherTrusted := certificate(t, "nats.example.com")
	for name, test := range map[string]struct {
		certificate tls.Certificate
		roots       *x509.CertPool
		scheme      string
		host        string
		named       string // by which the cluster was found
		plain       bool   // a server without TLS
		want        string
	}{
		"a trusted one":                      {own, trusted, "tls", "localhost", "", false, ""},
		"one that the server wants":          {own, trusted, "nats", "localhost", "", false, ""},
		"one of a cluster":                   {own, trusted, "tls", "127.0.0.1", "localhost", false, ""},
		"by an address":                      {own, trusted, "tls", "127.0.0.1", "", false, "certificate is"},
		"one that nobody trusts":             {foreign, trusted, "tls", "localhost", "", false, "certificate is not trusted"},
		"one that the system does not trust": {own, nil, "nats", "localhost", "", false, "certificate is not trusted"},
		"one for another name":               {other, otherTrusted, "tls", "localhost", "", false, "certificate is"},
		"none, though the URL wants it":      {own, trusted, "tls", "localhost", "", true, "wants TLS"},
		"none, as the URL says":              {own, trusted, "nats", "localhost", "", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := &server.Options{TLS: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{test.certificate}, MinVersion: tls.VersionTLS12}}
			if test.plain {
				options = nil
			}
			started, err := natsd.Start(options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(started.Close)
			dialer := &natsDialer{Dialer: &net.Dialer{}, roots: test.roots}
			if test.named != "" {
				dialer.named.Store(&test.named)
			}
			port := started.URL()[strings.LastIndex(started.URL(), ":")+1:]
			conn, err := nats.Connect(test.scheme+"://"+test.host+":"+port, nats.SetCustomDialer(dialer), nats.SkipHostLookup())
			if err == nil {
				err = conn.Flush()
				conn.Close()
			}
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(explain(err), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
