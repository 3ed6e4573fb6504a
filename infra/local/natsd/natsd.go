// Package natsd runs a NATS server with JetStream on the loopback address, in this
// process.
package natsd

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Server is a running NATS server. Its streams are deleted when it ends.
type Server struct {
	*server.Server
	folder string
}

// startTime limits the time of the start.
const startTime = 10 * time.Second

// Start starts a server on a free port and returns it. Options may be nil.
func Start(options *server.Options) (*Server, error) {
	if options == nil {
		options = &server.Options{}
	}
	folder, err := os.MkdirTemp("", "container-triggers-nats-")
	if err != nil {
		return nil, fmt.Errorf("making a place for streams: %w", err)
	}
	options.Host, options.NoSigs, options.NoLog = "127.0.0.1", true, true
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	options.JetStream, options.StoreDir = true, folder
	started, err := server.NewServer(options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting NATS: %w", err), os.RemoveAll(folder))
	}
	s := &Server{Server: started, folder: folder}
	started.Start()
	if !started.ReadyForConnections(startTime) {
		s.Close()
		return nil, errors.New("starting NATS: it takes no connections")
	}
	return s, nil
}

// URL returns the URL for clients.
func (s *Server) URL() string { return s.ClientURL() }

// Close ends the server and waits until it has ended.
func (s *Server) Close() {
	s.Shutdown()
	s.WaitForShutdown()
	_ = os.RemoveAll(s.folder) // in the folder for temporary files
}
