package measured

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"sync"

	"github.com/aws/smithy-go/middleware"
)

// Calls is an HTTP client of the AWS SDK that counts the calls that go through it.
type Calls struct {
	mu    sync.Mutex
	calls map[string]int
	read  int
}

// Do sends a request and counts it.
func (c *Calls) Do(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	operation := middleware.GetOperationName(request.Context())
	var answer struct{ ScannedCount int }
	if operation == "Query" {
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		c.calls = map[string]int{}
	}
	c.calls[operation]++
	c.read = max(c.read, answer.ScannedCount)
	return response, nil
}

// Take returns the calls since the last Take by their operation. It also returns the largest
// number of entries that one query of DynamoDB has read.
func (c *Calls) Take() (calls map[string]int, read int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls, read = c.calls, c.read
	c.calls, c.read = nil, 0
	return calls, read
}

// Sum returns the number of all calls.
func Sum(calls map[string]int) (all int) {
	for _, count := range calls {
		all += count
	}
	return all
}
