package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"
)

// connect connects to a NATS server as a publisher.
func (b *testBundle) connect(url string) *nats.Conn {
	b.t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	return conn
}

// createNATS creates a NATS trigger with the SDK.
func (b *testBundle) createNATS(name, url, subject string) *container.Trigger {
	b.t.Helper()
	created, err := b.api.CreateTrigger(&container.CreateTriggerRequest{
		ContainerID: b.containerID, Name: name,
		NatsConfig: &container.CreateTriggerRequestNATSConfig{ServerURLs: []string{url}, Subject: subject},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return created
}

// publish publishes a message and makes sure that the server has it.
func (b *testBundle) publish(conn *nats.Conn, message *nats.Msg) {
	b.t.Helper()
	if err := conn.PublishMsg(message); err != nil {
		b.t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		b.t.Fatal(err)
	}
}

func TestNATSTrigger_DeliversTheMessagesOfASubject(t *testing.T) {
	t.Parallel()
	b := setup(t)
	prefix := "s" + strings.ReplaceAll(uuid.NewString(), "-", "")
	id := b.createNATS("all", b.NATSURL(), prefix+".*.>").ID
	b.expectReady(id)

	conn := b.connect(b.NATSURL())
	b.publish(conn, &nats.Msg{Subject: prefix + ".orders.new.1", Data: []byte(`{"n":1}`), Header: nats.Header{"Kind": {"new"}, nats.MsgIdHdr: {"my-id"}}})
	c := b.nextCall()
	for name, want := range map[string]string{
		"Kind": "new", "Ce-Id": "my-id", "Ce-Subject": prefix + ".orders.new.1", "Ce-Type": "containertriggers.nats",
		"Ce-Source": regional + "/triggers/" + id, "Content-Type": "application/json",
	} {
		if got := c.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if c.body != `{"n":1}` {
		t.Errorf("got %q", c.body)
	}

	other := "o" + prefix
	b.patch(id, `{"nats_config":{"subject":"`+other+`"}}`)
	b.expectReady(id)
	b.publish(conn, &nats.Msg{Subject: prefix + ".orders.old", Data: []byte("old")})
	b.publish(conn, &nats.Msg{Subject: other, Data: []byte("new")})
	if c := b.nextCall(); c.body != "new" {
		t.Errorf("got %q", c.body)
	}

	b.delete(id)
}

func TestNATSTrigger_DeliversAStreamThoughItsConsumerIsDeleted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := "S" + strings.ReplaceAll(uuid.NewString(), "-", "")
	js, err := jetstream.New(b.connect(b.NATSURL()))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Retention: jetstream.WorkQueuePolicy})
	if err != nil {
		t.Fatal(err)
	}
	id := b.createNATS("stream", b.NATSURL(), name+".a").ID
	b.expectReady(id)
	for seq, body := range []string{"one", "two"} {
		if _, err := js.Publish(t.Context(), name+".a", []byte(body)); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%s/%d/%d", name, stream.CachedInfo().Created.UnixNano(), seq+1)
		if c := b.nextCall(); c.body != body || c.header.Get("Ce-Id") != want {
			t.Errorf("got %q with the ID %q, want the ID %q", c.body, c.header.Get("Ce-Id"), want)
		}
		if err := stream.DeleteConsumer(t.Context(), "trigger-"+id); err != nil {
			t.Fatal(err)
		}
		b.eventually("the consumer is there again", func() bool {
			_, err := stream.Consumer(t.Context(), "trigger-"+id)
			return err == nil
		})
	}
	b.delete(id)
	b.eventually("the consumer is deleted with the trigger", func() bool {
		_, err := stream.Consumer(t.Context(), "trigger-"+id)
		return errors.Is(err, jetstream.ErrConsumerNotFound)
	})
}
