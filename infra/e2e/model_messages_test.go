package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"containertriggers/shared/domain/trigger"
)

// messages are what the model sends to queues and subjects.
type messages struct {
	conn   *nats.Conn
	stream jetstream.JetStream
	// prefix begins the subjects of a stream of the model's own. Core NATS has the others.
	prefix string
	// sent has where each message was sent to, by its body.
	sent map[string]sent
	// arrived counts the calls for each message.
	arrived map[string]int
}

// sent is where a message was sent to: a queue, or a trigger's subject.
type sent struct{ queue, trigger string }

func newMessages(m *model) messages {
	conn, err := nats.Connect(m.NATSURL())
	m.must(err)
	stream, err := jetstream.New(conn)
	m.must(err)
	prefix := "M" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err = stream.CreateStream(m.t.Context(), jetstream.StreamConfig{Name: prefix, Subjects: []string{prefix + ".>"}})
	m.must(err)
	return messages{conn: conn, stream: stream, prefix: prefix, sent: map[string]sent{}, arrived: map[string]int{}}
}

// createNATS creates a trigger on a subject of its own, in the stream or on core NATS.
func (m *model) createNATS(rt *rapid.T) {
	subject := fmt.Sprintf("%s.%d", m.messages.prefix, m.made)
	if rapid.IntRange(0, 3).Draw(rt, "core") == 0 {
		subject = "core." + subject
	}
	m.create(trigger.SourceNATS, rapid.IntRange(0, 1).Draw(rt, "container"), map[string]any{"server_urls": []string{m.NATSURL()}, "subject": subject})
}

// send sends messages to a queue, or to the subject of a trigger.
func (m *model) send(rt *rapid.T) {
	to := rapid.SampledFrom(m.targets()).Draw(rt, "target")
	for range rapid.IntRange(1, 3).Draw(rt, "messages") {
		m.sendTo(to)
	}
}

// sendToAll sends a message to each queue and subject.
func (m *model) sendToAll() {
	for _, to := range m.targets() {
		m.sendTo(to)
	}
}

// targets returns the queues, and the NATS triggers that are not deleted.
func (m *model) targets() (all []sent) {
	for _, queue := range m.queues[:len(m.queues)-1] {
		all = append(all, sent{queue: queue})
	}
	for _, id := range slices.Sorted(maps.Keys(m.triggers)) {
		if known := m.triggers[id]; !known.deleted && known.source == trigger.SourceNATS {
			all = append(all, sent{trigger: id})
		}
	}
	return all
}

func (m *model) sendTo(to sent) {
	body := uuid.NewString()
	if to.queue != "" {
		_, err := sqs.NewFromConfig(m.AWSConfig()).SendMessage(m.t.Context(), &sqs.SendMessageInput{QueueUrl: &to.queue, MessageBody: &body})
		m.must(err)
		m.messages.sent[body] = to
		return
	}
	if row, there := m.row(to.trigger); !there || row.Status != trigger.Ready {
		return // nothing is promised before
	}
	subject := m.triggers[to.trigger].subject
	if strings.HasPrefix(subject, m.messages.prefix) {
		_, err := m.messages.stream.Publish(m.t.Context(), subject, []byte(body))
		m.must(err)
		m.messages.sent[body] = to
		return
	}
	m.must(m.messages.conn.Publish(subject, []byte(body))) // core NATS promises nothing if a relay is killed
}

// lost returns an error if a message has not arrived: of a queue that a trigger wants, or
// of a stream's subject that a trigger has.
func (m *model) lost() error {
	wanted := map[string]bool{}
	for _, row := range m.exact.rows(m.rt) {
		wanted[row.ID] = true
		if row.SQS != nil {
			wanted[row.SQS.QueueURL] = true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for body, to := range m.messages.sent {
		if m.messages.arrived[body] == 0 && (wanted[to.queue] || wanted[to.trigger]) {
			return fmt.Errorf("the message %s to %+v has not arrived", body, to)
		}
	}
	return nil
}
