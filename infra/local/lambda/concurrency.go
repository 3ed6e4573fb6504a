package lambda

import "sync"

// concurrency is how many more invocations may run at the same time, of one function or of
// all that reserve none.
type concurrency struct {
	reason string // why Lambda refuses an invocation beyond them

	mu   sync.Mutex
	free int
}

// take takes one, or returns a *[ThrottledError] if none is free.
func (c *concurrency) take() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.free <= 0 {
		return &ThrottledError{Reason: c.reason}
	}
	c.free--
	return nil
}

func (c *concurrency) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free += n
}
