package main

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"containertriggers/infra/local/sqsd"
)

// The kinds of sources, as command floor names them.
const (
	coreNATS       = "core"
	jetStream      = "jetstream"
	queueElsewhere = "sqs"
)

// sourceNames are the names of the kinds in tables.
var sourceNames = map[string]string{coreNATS: "core NATS", jetStream: "JetStream", queueElsewhere: "a queue elsewhere"}

// source is what a program receives messages from. Floor and relay have one each.
type source interface {
	// url and subject are what the floor subscribes to.
	url() string
	subject() string
	// config is the part of a trigger that names the source.
	config() map[string]any
	send(payload []byte) error
	// flush returns when all messages are sent.
	flush() error
	close()
}

// newSource returns a source of a kind. The name is that of the program.
func newSource(ctx context.Context, kind, natsURL, name string) (source, error) {
	if kind == queueElsewhere {
		return queueSource{sqsd.Start()}, nil
	}
	conn, err := nats.Connect(natsURL)
	if err != nil {
		return nil, err
	}
	if kind == jetStream {
		if err := addStream(ctx, conn, name); err != nil {
			conn.Close()
			return nil, fmt.Errorf("creating a stream: %w", err)
		}
	}
	return natsSource{conn, name}, nil
}

// addStream makes a stream that keeps the messages of a subject in memory. A disk would add
// its own variance. The stream keeps more messages than the publisher may be ahead.
func addStream(ctx context.Context, conn *nats.Conn, name string) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: name, Subjects: []string{name}, Storage: jetstream.MemoryStorage, MaxMsgs: 4 * window,
	})
	return err
}

// natsSource is a subject of the NATS server, with or without a stream.
type natsSource struct {
	conn *nats.Conn
	name string
}

func (s natsSource) url() string               { return s.conn.ConnectedUrl() }
func (s natsSource) subject() string           { return s.name }
func (s natsSource) send(payload []byte) error { return s.conn.Publish(s.name, payload) }
func (s natsSource) flush() error              { return s.conn.Flush() }
func (s natsSource) close()                    { s.conn.Close() }

func (s natsSource) config() map[string]any {
	return map[string]any{"nats_config": map[string]any{"server_urls": []string{s.url()}, "subject": s.name}}
}

// queueSource is a queue outside of AWS.
type queueSource struct{ server *sqsd.Server }

func (s queueSource) url() string     { return s.server.URL }
func (s queueSource) subject() string { return s.server.QueueURL() }
func (s queueSource) flush() error    { return nil }

func (s queueSource) send(payload []byte) error {
	s.server.Send(string(payload))
	return nil
}

func (s queueSource) config() map[string]any {
	return map[string]any{"sqs_config": map[string]any{
		"endpoint": s.server.URL, "queue_url": s.server.QueueURL(), "access_key_id": "a", "secret_access_key": "b",
	}}
}

func (s queueSource) close() {
	s.server.CloseClientConnections() // of receives that wait for messages
	s.server.Close()
}
