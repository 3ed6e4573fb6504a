package eventsource

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"containertriggers/shared/platform/backoff"
)

// Lambda accepts 15 requests a second to its control plane from all callers of an account
// and region together, and no quota can be raised (Lambda Developer Guide, "Lambda quotas").
// The service leaves most of them to deployments and to other software of the account.
const (
	// RunInterval is the pace of one run of reconcile. The template allows two such runs at
	// once, which make two requests a second.
	RunInterval = time.Second
	// SweepInterval is the pace of sweep, which never runs twice at once. It has seconds to
	// list all mappings, a hundred at a time.
	SweepInterval = 200 * time.Millisecond
)

// Pace spaces requests. Each begins at the interval after the one before it at the earliest.
type Pace struct {
	Interval time.Duration

	mu   sync.Mutex
	next time.Time
}

// Wait waits until the next request may begin.
func (p *Pace) Wait(ctx context.Context) error {
	p.mu.Lock()
	begin := time.Now()
	if p.next.After(begin) {
		begin = p.next
	}
	p.next = begin.Add(p.Interval)
	p.mu.Unlock()
	return backoff.Sleep(ctx, time.Until(begin))
}

// Rest waits until a request could begin. A run that rests at its end keeps the pace if
// another process goes on.
func (p *Pace) Rest(ctx context.Context) error {
	p.mu.Lock()
	next := p.next
	p.mu.Unlock()
	return backoff.Sleep(ctx, time.Until(next))
}

// Apply returns a configuration whose requests keep the pace, the SDK's retries included.
func (p *Pace) Apply(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = awshttp.NewBuildableClient()
	}
	cfg.HTTPClient = paced{cfg.HTTPClient, p}
	return cfg
}

type paced struct {
	client aws.HTTPClient
	pace   *Pace
}

func (c paced) Do(request *http.Request) (*http.Response, error) {
	if err := c.pace.Wait(request.Context()); err != nil {
		return nil, err
	}
	return c.client.Do(request)
}
