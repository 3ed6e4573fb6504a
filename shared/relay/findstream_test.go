package relay

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"containertriggers/shared/domain/trigger"
)

// took returns how often the container accepted a body.
func (b *testBundle) took(body string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken[body]
}

// idsOf returns the event IDs of the calls with a body.
func (b *testBundle) idsOf(body string) (ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.ids[body] {
		ids = append(ids, id)
	}
	return ids
}

// jetStream returns JetStream for another client.
func (b *testBundle) jetStream() jetstream.JetStream {
	b.t.Helper()
	js, err := jetstream.New(b.publisher())
	if err != nil {
		b.t.Fatal(err)
	}
	return js
}

// send publishes messages and waits until their stream has stored them.
func (b *testBundle) send(js jetstream.JetStream, subject string, bodies ...string) {
	b.t.Helper()
	for _, body := range bodies {
		if _, err := js.Publish(b.t.Context(), subject, []byte(body)); err != nil {
			b.t.Fatalf("publishing to %s: %v", subject, err)
		}
	}
}

// codeStoreFailed is the error code with which nats-server answers while it still removes
// the files of a deleted stream of the same name.
const codeStoreFailed jetstream.ErrorCode = 10049

func (b *testBundle) add(js jetstream.JetStream, config jetstream.StreamConfig) {
	b.t.Helper()
	b.eventually("the server creates the stream "+config.Name, func() bool {
		_, err := js.CreateStream(b.t.Context(), config)
		if refused, ok := errors.AsType[*jetstream.APIError](err); ok && refused.ErrorCode == codeStoreFailed {
			return false
		}
		if err != nil {
			b.t.Fatalf("creating the stream %s: %v", config.Name, err)
		}
		return true
	})
}

// Stream N stores n.>. The test publishes to n.a, and a trigger has that subject unless
// its case says otherwise.
func TestRelay_DeliversFromStreamsOfEveryConfig(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.Timing.StreamInterval = time.Second
	js := b.jetStream()
	type streamCase struct {
		config  func(*jetstream.StreamConfig)
		also    *jetstream.StreamConfig // a second stream
		subject string                  // the subject of the trigger
		before  bool                    // true if messages from before the trigger are delivered, too
		core    bool                    // true if the trigger receives by core NATS
		on      string                  // the stream with the consumer
	}
	cases := map[string]streamCase{
		"limits":    {},
		"interest":  {config: func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }},
		"workqueue": {config: func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, before: true},
		"new":       {config: func(c *jetstream.StreamConfig) { c.Discard, c.MaxMsgs = jetstream.DiscardNew, 100 }},
		"persubject": {config: func(c *jetstream.StreamConfig) {
			c.Discard, c.DiscardNewPerSubject, c.MaxMsgs, c.MaxMsgsPerSubject = jetstream.DiscardNew, true, 100, 50
		}},
		"memory":     {config: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }},
		"compressed": {config: func(c *jetstream.StreamConfig) { c.Compression = jetstream.S2Compression }},
		"pending":    {config: func(c *jetstream.StreamConfig) { c.ConsumerLimits.MaxAckPending = 2 }},
		"inactive":   {config: func(c *jetstream.StreamConfig) { c.ConsumerLimits.InactiveThreshold = 500 * time.Millisecond }},
		"oneleft":    {config: func(c *jetstream.StreamConfig) { c.MaxConsumers = 1 }},
		"locked":     {config: func(c *jetstream.StreamConfig) { c.DenyDelete, c.DenyPurge = true, true }},
		"transformed": {config: func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "transformed.*", Destination: "stored.{{wildcard(1)}}.x"}
		}},
		"untransformed": {config: func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "untransformed.b", Destination: "b"}
		}},
		"storedas": {config: func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "storedas.>", Destination: "kept.>"}
		}, subject: "kept.a"},
		"republished": {config: func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: "republished.>", Destination: "again.>"}
		}},
		"copied": {config: func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: "copied.>", Destination: "copy.>"}
		}, subject: "copy.a", core: true},
		"mirrored": {also: &jetstream.StreamConfig{Name: "M1", Mirror: &jetstream.StreamSource{Name: "MIRRORED"}}},
		"sourced":  {also: &jetstream.StreamConfig{Name: "M2", Sources: []*jetstream.StreamSource{{Name: "SOURCED"}}}},
		"renamed": {also: &jetstream.StreamConfig{Name: "M3", Sources: []*jetstream.StreamSource{{Name: "RENAMED", SubjectTransforms: []jetstream.SubjectTransformConfig{
			{Source: "renamed.*", Destination: "anew.{{wildcard(1)}}"},
		}}}}, subject: "anew.a", on: "M3"},
		"reflected": {also: &jetstream.StreamConfig{Name: "M4", Mirror: &jetstream.StreamSource{Name: "REFLECTED", SubjectTransforms: []jetstream.SubjectTransformConfig{
			{Source: "reflected.*", Destination: "mirror.{{wildcard(1)}}"},
		}}}, subject: "mirror.a", on: "M4"},
		"wide": {subject: "wide.>"},
		"part": {subject: "*.a.part", core: true},
	}
	ids := map[string]string{}
	for name, test := range cases {
		config := jetstream.StreamConfig{Name: strings.ToUpper(name), Subjects: []string{name + ".>"}}
		if test.config != nil {
			test.config(&config)
		}
		b.add(js, config)
		b.send(js, name+".a", name+" before")
		if test.also != nil {
			b.add(js, *test.also)
		}
		if test.subject == "" {
			test.subject = name + ".a"
		}
		ids[name] = b.create(test.subject, "")
	}
	b.start(10 * time.Minute)
	for name, id := range ids {
		b.ready(id)
		subject := name + ".a"
		if name == "part" {
			subject += ".part"
		}
		for i := range 5 {
			b.send(js, subject, fmt.Sprintf("%s %d", name, i))
		}
	}
	for name, test := range cases {
		for i := range 5 {
			body := fmt.Sprintf("%s %d", name, i)
			b.eventually(body+" arrives", func() bool { return b.took(body) > 0 })
			if n := b.took(body); n != 1 {
				t.Errorf("%s was taken %d times", body, n)
			}
		}
		if got := b.took(name+" before") > 0; got != test.before {
			t.Errorf("%s: what was there before was delivered: %t", name, got)
		}
		on := strings.ToUpper(name)
		if test.on != "" {
			on = test.on
		}
		consumer, err := js.Consumer(t.Context(), on, "trigger-"+ids[name])
		if (err == nil) == test.core {
			t.Errorf("%s: the consumer: %v", name, err)
		}
		if limit := 2; name == "pending" && consumer.CachedInfo().Config.MaxAckPending != limit {
			t.Errorf("got %+v", consumer.CachedInfo().Config)
		}
		if got := b.get(ids[name]); got.Status != trigger.Ready {
			t.Errorf("%s: it is %s: %s", name, got.Status, got.ErrorMessage)
		}
	}
}

func TestRelay_ReportsWhyAStreamCannotBeUsedAndRecovers(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	js := b.jetStream()
	other := func(name string, config jetstream.ConsumerConfig) func() {
		config.Durable, config.AckPolicy = "other", jetstream.AckExplicitPolicy
		if _, err := js.CreateConsumer(t.Context(), name, config); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := js.DeleteConsumer(t.Context(), name, "other"); err != nil {
				t.Fatal(err)
			}
		}
	}
	cases := map[string]struct {
		config func(*jetstream.StreamConfig)
		block  func() (unblock func())
		want   string
	}{
		"full": {
			func(c *jetstream.StreamConfig) { c.MaxConsumers = 1 },
			func() func() { return other("full", jetstream.ConsumerConfig{}) },
			"the stream full has reached its maximum number of consumers: raise max_consumers",
		},
		"overlap": {
			func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
			func() func() { return other("overlap", jetstream.ConsumerConfig{FilterSubject: "overlap.*"}) },
			"the stream overlap has workqueue retention, and another consumer",
		},
		"unfiltered": {
			func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
			func() func() { return other("unfiltered", jetstream.ConsumerConfig{}) },
			"the stream unfiltered has workqueue retention, and another consumer",
		},
		"opaque": {
			func(c *jetstream.StreamConfig) {
				c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "opaque.*", Destination: "opaque"}
			},
			func() func() {
				return func() {
					if _, err := js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: "opaque", Subjects: []string{"opaque.>"}}); err != nil {
						t.Fatal(err)
					}
				}
			},
			"use a subject under which the stream stores messages",
		},
	}
	ids, unblock := map[string]string{}, map[string]func(){}
	for name, test := range cases {
		config := jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}}
		test.config(&config)
		b.add(js, config)
		unblock[name] = test.block()
		ids[name] = b.create(name+".a", "")
	}
	b.start(10 * time.Minute)
	for name, test := range cases {
		b.inError(ids[name], test.want)
		unblock[name]()
	}
	for name, id := range ids {
		b.ready(id)
		b.send(js, name+".a", name)
		b.eventually(name+" arrives", func() bool { return b.took(name) == 1 })
	}
}

// A sealed stream accepts no new message. The relay must still deliver those that the
// trigger has not acknowledged.
func TestRelay_DeliversTheMessagesOfASealedStream(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	js, stream := b.stream("s")
	id := b.create("s", "")
	run := b.start(10 * time.Minute)
	b.ready(id)
	b.end(run)
	b.send(js, "s", "1", "2")
	config := stream.CachedInfo().Config
	config.Sealed = true
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteConsumer(t.Context(), "S", "trigger-"+id); err != nil {
		t.Fatal(err)
	}
	b.start(10 * time.Minute)
	b.eventually("both arrive", func() bool { return b.count() == 2 })
	b.ready(id)
}

// The server's clock may differ from the relay's, and its answer may take long.
func TestReceivedAll_ComparesTheAgesAtTheRequest(t *testing.T) {
	t.Parallel()
	subscribed := time.Now()
	asked := subscribed.Add(time.Second)
	created := subscribed.Add(-time.Hour) // by the server's clock
	for name, c := range map[string]struct {
		age      time.Duration // of the stream when the server described it
		received bool
	}{
		"created before the subscription": {time.Second + time.Millisecond, false},
		"created after the subscription":  {time.Second - time.Millisecond, true},
	} {
		s := &natsSource{sink: sink{now: func() time.Time { return asked.Add(time.Minute) }}, sub: &nats.Subscription{}, subscribed: subscribed}
		found := &foundStream{StreamInfo: &jetstream.StreamInfo{Created: created, TimeStamp: created.Add(c.age)}, asked: asked}
		if got := s.receivedAll(found); got != c.received {
			t.Errorf("%s: got %t, want %t", name, got, c.received)
		}
	}
}
