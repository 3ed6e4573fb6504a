package relay

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/middleware"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
)

func TestEventID_DiffersBetweenIncarnationsOfAStreamAndStaysOverRedeliveries(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.Timing.StreamInterval = time.Second
	js := b.jetStream()
	config := jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}
	b.add(js, config)
	fail := map[string]int{"1": 2, "3": 1}
	b.answers(func(body string) int {
		b.mu.Lock()
		defer b.mu.Unlock()
		if fail[body]--; fail[body] >= 0 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	id := b.create("s", "")
	run := b.start(10 * time.Minute)
	b.ready(id)
	b.send(js, "s", "1", "2")
	b.eventually("both arrive", func() bool { return b.count() == 2 })

	// Replace the stream while the relay runs.
	if err := js.DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	b.add(js, config)
	b.send(js, "s", "3")
	b.eventually("what came since the stream is there again arrives", func() bool { return b.took("3") > 0 })
	b.end(run)

	// Replace the stream while no relay runs. All messages of the new one are newer.
	if err := js.DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	b.add(js, config)
	b.send(js, "s", "4", "5")
	b.start(10 * time.Minute)
	b.eventually("what came meanwhile arrives", func() bool { return b.took("4") > 0 && b.took("5") > 0 })

	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, body := range numbers(1, 6) {
		ids := b.idsOf(body)
		if len(ids) != 1 {
			t.Errorf("%s came with the IDs %q", body, ids)
		}
		for _, id := range ids {
			if seen[id] != "" {
				t.Errorf("%s and %s have the ID %s", seen[id], body, id)
			}
			seen[id] = body
		}
	}
	if want := "S/" + strconv.FormatInt(stream.CachedInfo().Created.UnixNano(), 10) + "/2"; !slices.Equal(b.idsOf("5"), []string{want}) {
		t.Errorf("got %q, want %q", b.idsOf("5"), want)
	}
}

func TestPosition_SurvivesTheRunAndTheConsumer(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	js, stream := b.stream("s.*")
	stuck := true
	b.answers(func(body string) int {
		b.mu.Lock()
		defer b.mu.Unlock()
		if body == "stuck" && stuck {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	b.send(js, "s.a", "before")
	id := b.create("s.a", "")
	run := b.start(10 * time.Minute)
	b.ready(id)
	b.send(js, "s.a", "1", "2")
	b.eventually("both arrive", func() bool { return b.count() == 2 })
	b.end(run)
	deleteConsumer(t, js, "S", "trigger-"+id)
	b.send(js, "s.a", "3", "stuck")
	run = b.start(10 * time.Minute)
	b.eventually("what came meanwhile arrives", func() bool { return b.count() == 3 })
	b.eventually("one message is pending", func() bool {
		consumer, err := stream.Consumer(t.Context(), "trigger-"+id)
		return err == nil && consumer.CachedInfo().NumAckPending == 1
	})
	b.end(run)
	deleteConsumer(t, js, "S", "trigger-"+id)
	b.send(js, "s.a", "4")
	b.mu.Lock()
	stuck = false
	b.mu.Unlock()
	b.start(10 * time.Minute)
	b.eventually("all arrive", func() bool { return b.count() == 5 })
	if b.doubles() > 0 || b.took("before") > 0 {
		t.Errorf("got %v", b.taken)
	}

	if _, err := b.Triggers.MarkDeleting(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.eventually("the trigger is let go", func() bool { return b.get(id).Relay == "" })
	if kept, err := b.Positions.Get(t.Context(), id); err != nil || kept != (store.Position{}) {
		t.Errorf("the position is still there: %+v, %v", kept, err)
	}
}

func TestPosition_IsNotCarriedToAStreamThatIsReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	var armed atomic.Bool
	reading, replaced := make(chan struct{}), make(chan struct{})
	b.Positions.Client = dynamodb.NewFromConfig(mototest.Config(t), dynamodb.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("pause", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			if _, ok := in.Parameters.(*dynamodb.GetItemInput); ok && armed.CompareAndSwap(true, false) {
				close(reading)
				<-replaced
			}
			return next.HandleInitialize(ctx, in)
		}), middleware.Before)
	}))
	js := b.jetStream()
	config := jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}
	b.add(js, config)
	id := b.create("s", "")
	run := b.start(10 * time.Minute)
	b.ready(id)
	b.send(js, "s", "1", "2")
	b.eventually("both arrive", func() bool { return b.count() == 2 })
	b.end(run)
	deleteConsumer(t, js, "S", "trigger-"+id)

	// The relay has found the stream and is about to create its consumer.
	armed.Store(true)
	b.start(10 * time.Minute)
	<-reading
	if err := js.DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	b.add(js, config)
	b.send(js, "s", "3")
	close(replaced)
	b.eventually("what the new stream has arrives", func() bool { return b.took("3") > 0 })
	if b.doubles() > 0 {
		t.Errorf("got %v", b.taken)
	}
}

func TestPosition_OfAPurgedStreamContinuesAfterThePurge(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	js, stream := b.stream("s")
	id := b.create("s", "")
	run := b.start(10 * time.Minute)
	b.ready(id)
	b.send(js, "s", "1", "2")
	b.eventually("both arrive", func() bool { return b.count() == 2 })
	b.end(run)
	b.send(js, "s", "purged")
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.send(js, "s", "3")
	deleteConsumer(t, js, "S", "trigger-"+id)
	b.start(10 * time.Minute)
	b.eventually("what is there arrives", func() bool { return b.count() == 3 })
	if b.doubles() > 0 || b.took("purged") > 0 {
		t.Errorf("got %v", b.taken)
	}
}

// The stream of another cluster may have the same name and older messages.
func TestPosition_IsNotCarriedToOtherServers(t *testing.T) {
	t.Parallel()
	b, other := setup(t, nil), setup(t, nil)
	js, left := b.stream("s")
	elsewhere, next := other.stream("s")
	b.send(elsewhere, "s", "old")
	id := b.create("s", "")
	b.start(10 * time.Minute)
	b.ready(id)
	b.send(js, "s", "1")
	b.eventually("it arrives", func() bool { return b.count() == 1 })
	b.update(id, `{"nats_config":{"server_urls":["`+other.nats.URL()+`"]}}`)
	b.ready(id)
	b.send(elsewhere, "s", "2")
	b.eventually("it arrives", func() bool { return b.took("2") == 1 })
	if b.took("old") > 0 {
		t.Error("a message from before arrived")
	}

	// The trigger leaves no consumer in a stream that it no longer receives from.
	gone := func(stream jetstream.Stream) func() bool {
		return func() bool {
			_, err := stream.Consumer(t.Context(), "trigger-"+id)
			return errors.Is(err, jetstream.ErrConsumerNotFound)
		}
	}
	b.eventually("the consumer at the other server is deleted", gone(left))
	b.update(id, `{"nats_config":{"subject":"core"}}`)
	b.eventually("the consumer of the stream is deleted", gone(next))
}

func TestCoreSubscription_SwitchesToAStreamAndBack(t *testing.T) {
	t.Parallel()
	for name, retention := range map[string]jetstream.RetentionPolicy{"limits": jetstream.LimitsPolicy, "workqueue": jetstream.WorkQueuePolicy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			b.Timing.StreamInterval = time.Second
			js, conn := b.jetStream(), b.publisher()
			audit, err := conn.SubscribeSync(server.JSAuditAdvisory)
			if err != nil {
				t.Fatal(err)
			}
			id := b.create("s", "")
			b.start(10 * time.Minute)
			b.ready(id)
			sent := 0
			send := func(until func() bool) {
				b.eventually("it switches", func() bool {
					b.publish(conn, "s", strconv.Itoa(sent))
					sent++
					return until()
				})
			}
			send(func() bool { return b.count() > 0 })
			b.add(js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Retention: retention})
			send(func() bool {
				_, err := js.Consumer(t.Context(), "S", "trigger-"+id)
				return err == nil
			})
			b.send(js, "s", "last of the stream")
			b.eventually("all arrive", func() bool { return b.count() == sent+1 })
			// A message that comes after the relay's look for a stream may come by both ways.
			looked := sequenceAtLook(t, audit, id)
			for body, times := range b.times() {
				for _, event := range b.idsOf(body) {
					seq, err := strconv.ParseUint(event[strings.LastIndex(event, "/")+1:], 10, 64)
					if fromStream := err == nil; fromStream && times > 1 && seq <= looked {
						t.Errorf("%s came again as %s, and the stream had %d messages at the look", body, event, looked)
					}
				}
			}
			if err := js.DeleteStream(t.Context(), "S"); err != nil {
				t.Fatal(err)
			}
			b.eventually("core NATS delivers again", func() bool {
				b.publish(conn, "s", "last")
				return b.took("last") > 0
			})
			b.ready(id)
		})
	}
}

// sequenceAtLook returns the last sequence that the stream had when the relay looked for
// it, before it created the trigger's consumer. The server tells each request and its answer
// to audit.
func sequenceAtLook(t *testing.T, audit *nats.Subscription, id string) (last uint64) {
	t.Helper()
	for {
		m, err := audit.NextMsg(deadline)
		if err != nil {
			t.Fatal(err)
		}
		var told server.JSAPIAudit
		if err := json.Unmarshal(m.Data, &told); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(told.Subject, "$JS.API.CONSUMER.CREATE.S.trigger-"+id) {
			return last
		}
		if told.Subject != server.JSApiStreamList {
			continue
		}
		var answer server.JSApiStreamListResponse
		if err := json.Unmarshal([]byte(told.Response), &answer); err != nil {
			t.Fatal(err)
		}
		for _, stream := range answer.Streams {
			last = stream.State.LastSeq
		}
	}
}

func TestStream_ReportsMissingPermissions(t *testing.T) {
	t.Parallel()
	a, options := newAuthority(t)
	b := setup(t, options)
	a.claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	account, err := b.nats.LookupAccount(a.claims.Subject)
	if err != nil {
		t.Fatal(err)
	}
	b.nats.UpdateAccountClaims(account, a.claims)
	owner, _ := a.user(nil)
	conn := b.publisher(nats.UserCredentialBytes([]byte(owner)))
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	b.add(js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	without := func(subject string) string {
		credentials, _ := a.user(func(c *jwt.UserClaims) { c.Pub.Deny.Add(subject) })
		return credentials
	}
	ids := map[string]string{}
	for _, subject := range []string{"$JS.API.CONSUMER.INFO.", "$JS.API.CONSUMER.CREATE.", "$JS.API.CONSUMER.MSG.NEXT.", "$JS.ACK."} {
		ids[subject] = b.create("s."+strconv.Itoa(len(ids)), without(subject+">"))
	}
	core := b.create("s.core", without("$JS.API.STREAM.LIST"))
	b.start(10 * time.Minute)
	b.ready(core)
	b.publish(conn, "s.core", "core")
	b.eventually("core NATS delivers", func() bool { return b.took("core") == 1 })
	// The denial only shows when the relay acknowledges a message.
	b.ready(ids["$JS.ACK."])
	b.publish(conn, "s.3", "3")
	for subject, id := range ids {
		b.inError(id, "allow the user to publish to "+subject)
	}
}
