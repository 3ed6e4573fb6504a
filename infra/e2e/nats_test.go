package e2e

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"
)

// connect connects to a NATS server as a publisher.
func (b *testBundle) connect(url string, options ...nats.Option) *nats.Conn {
	b.t.Helper()
	conn, err := nats.Connect(url, options...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	return conn
}

// createNATS creates a NATS trigger with the SDK.
func (b *testBundle) createNATS(name, url, subject, credentials string) *container.Trigger {
	b.t.Helper()
	created, err := b.api.CreateTrigger(&container.CreateTriggerRequest{
		ContainerID: b.containerID, Name: name,
		NatsConfig: &container.CreateTriggerRequestNATSConfig{ServerURLs: []string{url}, Subject: subject, CredentialsFileContent: credentials},
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

func TestMessagesOfASubjectReachTheContainer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	prefix := "s" + strings.ReplaceAll(uuid.NewString(), "-", "")
	id := b.createNATS("all", b.NATSURL(), prefix+".*.>", "").ID
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
