// Package sqsd serves an SQS queue on the loopback address, in this process. It has only the
// calls of a receiver, and it is fast. The emulator needs seconds for a message of 1 MiB.
package sqsd

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Server is a queue and its endpoint. It accepts any key.
type Server struct {
	*httptest.Server

	mu       sync.Mutex
	messages []*message
	// sent is closed when a message is sent, and made again.
	sent chan struct{}
}

type message struct {
	id, body, receipt string
	visible           time.Time
	receives          int
}

// Start starts a server with an empty queue.
func Start() *Server {
	s := &Server{sent: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	return s
}

// QueueURL is the URL of the queue.
func (s *Server) QueueURL() string { return s.URL + "/1/q" }

// Send sends messages.
func (s *Server) Send(bodies ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, body := range bodies {
		s.messages = append(s.messages, &message{id: uuid.NewString(), body: body})
	}
	close(s.sent)
	s.sent = make(chan struct{})
}

// Len is the number of messages that are not deleted.
func (s *Server) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

// request has the fields of all requests.
type request struct {
	MaxNumberOfMessages, WaitTimeSeconds, VisibilityTimeout int
	Entries                                                 []struct {
		ID                string `json:"Id"`
		ReceiptHandle     string
		VisibilityTimeout int
	}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in request
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var out any
	switch _, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); action {
	case "ReceiveMessage":
		out = map[string]any{"Messages": s.receive(r, in)}
	case "DeleteMessageBatch", "ChangeMessageVisibilityBatch":
		out = map[string]any{"Successful": s.change(in, action == "DeleteMessageBatch"), "Failed": []any{}}
	default:
		http.Error(w, "unknown action "+action, http.StatusBadRequest)
		return
	}
	answer, err := json.Marshal(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	_, _ = w.Write(answer) // a client that has gone receives the messages again
}

// receive waits for messages and hides those that it returns.
func (s *Server) receive(r *http.Request, in request) []map[string]any {
	timeout := time.After(time.Duration(in.WaitTimeSeconds) * time.Second)
	for {
		s.mu.Lock()
		found, sent := s.visible(in), s.sent
		s.mu.Unlock()
		if len(found) > 0 || in.WaitTimeSeconds == 0 {
			return found
		}
		select {
		case <-sent:
		case <-time.After(time.Second): // a message may be visible again
		case <-timeout:
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

// visible hides the next messages and returns them. The caller holds the lock.
func (s *Server) visible(in request) (found []map[string]any) {
	now := time.Now()
	for _, m := range s.messages {
		if len(found) == max(in.MaxNumberOfMessages, 1) {
			break
		}
		if m.visible.After(now) {
			continue
		}
		m.receives++
		m.receipt, m.visible = uuid.NewString(), now.Add(time.Duration(in.VisibilityTimeout)*time.Second)
		found = append(found, map[string]any{
			"MessageId": m.id, "ReceiptHandle": m.receipt, "Body": m.body,
			"Attributes": map[string]string{"ApproximateReceiveCount": strconv.Itoa(m.receives)},
		})
	}
	return found
}

// change deletes messages, or changes how long they are hidden.
func (s *Server) change(in request, deletes bool) []map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := []map[string]string{}
	for _, entry := range in.Entries {
		i := slices.IndexFunc(s.messages, func(m *message) bool { return m.receipt == entry.ReceiptHandle })
		if i >= 0 && deletes {
			s.messages = slices.Delete(s.messages, i, i+1)
		} else if i >= 0 {
			s.messages[i].visible = time.Now().Add(time.Duration(entry.VisibilityTimeout) * time.Second)
		}
		done = append(done, map[string]string{"Id": entry.ID})
	}
	return done
}

// Receives is how often the message was received that was received most often, among those
// that are not deleted.
func (s *Server) Receives() (most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		most = max(most, m.receives)
	}
	return most
}
