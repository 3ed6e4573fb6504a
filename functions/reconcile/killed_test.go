package main

import (
	"errors"
	"net/http"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// breaking is an HTTP client that breaks one of the AWS calls that go through it:
// before the call takes effect, or after.
type breaking struct {
	mu    sync.Mutex
	count int
	at    int
	after bool
}

var errBroken = errors.New("the function was killed here")

func (c *breaking) Do(request *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.count++
	broken := c.count == c.at
	c.mu.Unlock()
	if broken && !c.after {
		return nil, errBroken
	}
	response, err := http.DefaultClient.Do(request)
	if broken && err == nil {
		response.Body.Close()
		return nil, errBroken
	}
	return response, err
}

// pass is a change that reconcile is to carry out, and what there is then.
type pass struct {
	prepare func(*testBundle) (id string)
	want    string
}

func TestReconcile_KilledAtAnyCallConvergesOnSchedules(t *testing.T) {
	t.Parallel()
	killed(t, map[string]pass{
		"create": {
			func(b *testBundle) string { return b.create(union).ID },
			`.2=cron(0 0 ? * 2 *) Europe/Paris; =cron(0 0 1 * ? *) Europe/Paris; ready "" settled true`,
		},
		"update": {
			func(b *testBundle) string {
				id := b.create(union).ID
				b.handleRow(id)
				b.update(id, `{"cron_config":{"schedule":"0 5 * * *"}}`)
				return id
			},
			`=cron(0 5 * * ? *) Europe/Paris; ready "" settled true`,
		},
		"delete": {
			func(b *testBundle) string {
				id := b.create(union).ID
				b.handleRow(id)
				b.markDeleting(id)
				return id
			},
			"no row",
		},
	})
}

func (b *testBundle) markDeleting(id string) {
	b.t.Helper()
	if _, err := b.triggers.MarkDeleting(b.t.Context(), id); err != nil {
		b.t.Fatal(err)
	}
}

// streamTries is how often the stream brings a record again (template.yaml).
const streamTries = 20

// killed breaks each AWS call of each pass in turn, before and after it takes
// effect, and shows that the runs after it come to the same world as one that nothing
// happened to.
func killed(t *testing.T, passes map[string]pass) {
	t.Helper()
	for name, pass := range passes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on := guarded(t)
			b := setupOn(t, on)
			calls := 0
			for _, after := range []bool{false, true} {
				for at := 1; ; at++ {
					id := pass.prepare(b)
					record := b.record(id, nil, b.image(b.triggers.Table, id))
					client := &breaking{at: at, after: after}
					cfg := on.Copy()
					cfg.HTTPClient = client
					cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
					broken := newBundle(t, cfg)
					broken.changes.url = b.changes.url
					gaveBack := broken.handleRecords(record)
					keptMessages := broken.handleMessages()
					if client.count < at {
						b.expect(id, pass.want) // nothing was broken any more
						break
					}
					if gaveBack+keptMessages == 0 {
						t.Errorf("call %d (after: %t) failed, and neither the record nor a message was given back", at, after)
					}
					calls++
					// As the stream and the queue do, while moto itself fails under the other tests'
					// load.
					for tries := 1; gaveBack > 0 && tries < streamTries; tries++ {
						gaveBack = b.handleRecords(record)
					}
					for tries := 1; b.handleMessages() > 0 && tries < streamTries; tries++ {
					}
					b.expect(id, pass.want)
				}
			}
			t.Logf("broke %d calls", calls)
			if calls < 6 {
				t.Errorf("only %d calls were broken", calls)
			}
		})
	}
}
