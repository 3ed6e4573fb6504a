package eventsource

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// began is an HTTP client that notes when requests begin.
type began struct {
	mu    sync.Mutex
	since time.Time
	at    []time.Duration
}

func (c *began) Do(*http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Since(c.since))
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func TestPace_SpacesTheRequestsOfARunAndOfTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pace, client := &Pace{Interval: time.Second}, &began{since: time.Now()}
		paced := pace.Apply(aws.Config{HTTPClient: client}).HTTPClient
		request := func() {
			sent, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://lambda", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := paced.Do(sent)
			if err != nil {
				t.Error(err)
				return
			}
			_ = response.Body.Close()
		}
		var run sync.WaitGroup
		for range 4 {
			run.Go(request)
		}
		run.Wait()
		if err := pace.Rest(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ended := time.Since(client.since); ended != 4*time.Second {
			t.Errorf("the run rested until %s", ended)
		}
		request()
		for i, at := range client.at {
			if at != time.Duration(i)*time.Second {
				t.Errorf("request %d began after %s", i, at)
			}
		}
	})
}
