package relay

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// healCases are the changes that an operator may make to a trigger's consumer at the
// server.
var healCases = map[string]func(t *testing.T, js jetstream.JetStream, stream, consumer string){
	"deleted": deleteConsumer,
	"paused": func(t *testing.T, js jetstream.JetStream, stream, consumer string) {
		if _, err := js.PauseConsumer(t.Context(), stream, consumer, time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
	},
	"filtered": alter(func(c *jetstream.ConsumerConfig) { c.FilterSubject = strings.TrimSuffix(c.FilterSubject, "a") + "b" }),
	"unfiltered": alter(func(c *jetstream.ConsumerConfig) {
		c.FilterSubject = ""
	}),
	"two filters": alter(func(c *jetstream.ConsumerConfig) {
		prefix := strings.TrimSuffix(c.FilterSubject, "a")
		c.FilterSubject, c.FilterSubjects = "", []string{prefix + "b", prefix + "c"}
	}),
	"one delivery":    alter(func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 1 }),
	"headers only":    alter(func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true }),
	"one at a time":   alter(func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 1 }),
	"small requests":  alter(func(c *jetstream.ConsumerConfig) { c.MaxRequestBatch, c.MaxRequestExpires = 1, time.Second }),
	"inactive":        alter(func(c *jetstream.ConsumerConfig) { c.InactiveThreshold = time.Hour }),
	"a long ack wait": alter(func(c *jetstream.ConsumerConfig) { c.AckWait = time.Hour }),
	"priority groups": replace(func(c *jetstream.ConsumerConfig) {
		c.PriorityPolicy, c.PriorityGroups = jetstream.PriorityPolicyOverflow, []string{"g"}
	}),
	"no acks":         replace(func(c *jetstream.ConsumerConfig) { c.AckPolicy = jetstream.AckNonePolicy }),
	"acks of all":     replace(func(c *jetstream.ConsumerConfig) { c.AckPolicy = jetstream.AckAllPolicy }),
	"in memory":       replace(func(c *jetstream.ConsumerConfig) { c.MemoryStorage = true }),
	"the newest":      replace(func(c *jetstream.ConsumerConfig) { c.DeliverPolicy = jetstream.DeliverNewPolicy }),
	"the last":        replace(func(c *jetstream.ConsumerConfig) { c.DeliverPolicy = jetstream.DeliverLastPolicy }),
	"all of it":       replace(func(c *jetstream.ConsumerConfig) {}),
	"a push consumer": push,
	"purged": func(t *testing.T, js jetstream.JetStream, name, _ string) {
		stream, err := js.Stream(t.Context(), name)
		if err == nil {
			err = stream.Purge(t.Context(), jetstream.WithPurgeSubject("none"))
		}
		if err != nil {
			t.Error(err)
		}
	},
}

var (
	// uninterested are the cases in which no consumer is interested in the trigger's
	// messages for a moment. A stream with interest retention then deletes them. A consumer
	// whose filter is removed counts as one without interest (nats-server 2.15, swapSigSubs).
	uninterested = []string{
		"deleted", "filtered", "unfiltered", "two filters", "priority groups", "no acks", "acks of all", "in memory", "the newest", "the last", "all of it", "a push consumer",
	}
	// notOfWorkQueues are consumers that a stream with workqueue retention refuses.
	notOfWorkQueues = []string{"no acks", "acks of all", "the newest", "the last"}
)

func deleteConsumer(t *testing.T, js jetstream.JetStream, stream, consumer string) {
	if err := js.DeleteConsumer(t.Context(), stream, consumer); err != nil {
		t.Error(err)
	}
}

// alter changes the consumer.
func alter(change func(*jetstream.ConsumerConfig)) func(*testing.T, jetstream.JetStream, string, string) {
	return func(t *testing.T, js jetstream.JetStream, stream, consumer string) {
		found, err := js.Consumer(t.Context(), stream, consumer)
		if err != nil {
			t.Error(err)
			return
		}
		config := found.CachedInfo().Config
		change(&config)
		if _, err := js.UpdateConsumer(t.Context(), stream, config); err != nil {
			t.Error(err)
		}
	}
}

// replace replaces the trigger's consumer with another one. It retries, because the relay
// creates its consumer again as soon as it is deleted.
func replace(change func(*jetstream.ConsumerConfig)) func(*testing.T, jetstream.JetStream, string, string) {
	return func(t *testing.T, js jetstream.JetStream, stream, consumer string) {
		found, err := js.Consumer(t.Context(), stream, consumer)
		if err != nil {
			t.Error(err)
			return
		}
		config := jetstream.ConsumerConfig{Durable: consumer, FilterSubject: found.CachedInfo().Config.FilterSubject, AckPolicy: jetstream.AckExplicitPolicy}
		change(&config)
		for end := time.Now().Add(deadline); ; {
			deleteConsumer(t, js, stream, consumer)
			if _, err = js.CreateConsumer(t.Context(), stream, config); err == nil || time.Now().After(end) {
				break
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func push(t *testing.T, js jetstream.JetStream, stream, consumer string) {
	var err error
	for end := time.Now().Add(deadline); ; {
		deleteConsumer(t, js, stream, consumer)
		_, err = js.CreatePushConsumer(t.Context(), stream, jetstream.ConsumerConfig{Durable: consumer, DeliverSubject: "elsewhere", AckPolicy: jetstream.AckExplicitPolicy})
		if err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// The test has a stream for each retention and each case. A message in it stays
// unacknowledged, and later messages are acknowledged. After the change of the consumer,
// every message must arrive, and no acknowledged message may arrive again.
func TestConsumer_ChangedByHandContinuesAtItsPosition(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	js := b.jetStream()
	stuck := make(chan struct{})
	b.answers(func(body string) int {
		if strings.HasSuffix(body, " stuck") {
			select {
			case <-stuck:
			default:
				return http.StatusInternalServerError
			}
		}
		return http.StatusOK
	})
	type healed struct{ id, name, stream, subject string }
	var all []healed
	for retention, kind := range map[jetstream.RetentionPolicy]string{
		jetstream.LimitsPolicy: "limits", jetstream.InterestPolicy: "interest", jetstream.WorkQueuePolicy: "workqueue",
	} {
		for name := range healCases {
			if retention == jetstream.WorkQueuePolicy && slices.Contains(notOfWorkQueues, name) {
				continue
			}
			stream := kind + "-" + strings.ReplaceAll(name, " ", "-")
			h := healed{name: name, stream: stream, subject: stream + ".a"}
			b.add(js, jetstream.StreamConfig{Name: stream, Subjects: []string{stream + ".*"}, Retention: retention})
			h.id = b.create(h.subject, "")
			all = append(all, h)
		}
	}
	b.start(10 * time.Minute)
	for _, h := range all {
		b.ready(h.id)
	}
	// From here on the test must be quick, because the pauses between retries grow.
	for _, h := range all {
		b.send(js, h.subject, h.stream+" 0", h.stream+" stuck", h.stream+" 1", h.stream+" 2")
	}
	for _, h := range all {
		b.eventually(h.stream+": all but one are acknowledged", func() bool {
			consumer, err := js.Consumer(t.Context(), h.stream, "trigger-"+h.id)
			return err == nil && consumer.CachedInfo().NumAckPending == 1 && consumer.CachedInfo().Delivered.Stream == 4
		})
	}
	for _, h := range all {
		healCases[h.name](t, js, h.stream, "trigger-"+h.id)
		b.send(js, h.subject, h.stream+" 3")
		b.send(js, h.stream+".b", h.stream+" other")
	}
	close(stuck)
	for _, h := range all {
		for _, body := range []string{"0", "1", "2", "3", "stuck"} {
			if lost := body == "stuck" || body == "3"; lost && strings.HasPrefix(h.stream, "interest") && slices.Contains(uninterested, h.name) {
				continue
			}
			b.eventually(h.stream+": "+body+" arrives", func() bool { return b.took(h.stream+" "+body) > 0 })
			if n := b.took(h.stream + " " + body); n != 1 {
				t.Errorf("%s: %s was taken %d times", h.stream, body, n)
			}
		}
		if b.took(h.stream+" other") > 0 {
			t.Errorf("%s: a message of another subject was taken", h.stream)
		}
		b.eventually(h.stream+": the consumer is as it was", func() bool {
			consumer, err := js.Consumer(t.Context(), h.stream, "trigger-"+h.id)
			if err != nil {
				return false
			}
			c := consumer.CachedInfo().Config
			return c.FilterSubject == h.subject && c.AckPolicy == jetstream.AckExplicitPolicy && c.MaxDeliver == -1 && c.MaxAckPending == maxAckPending &&
				c.AckWait == b.Timing.withDefaults().AckWait && !c.HeadersOnly && !c.MemoryStorage && c.MaxRequestBatch == 0 && !consumer.CachedInfo().Paused
		})
		b.ready(h.id) // a busy machine may keep the relay from its position for a moment
	}
}
