package main

import (
	"context"
	"strconv"
	"time"

	"containertriggers/infra/local/cloud"
	"containertriggers/infra/local/stack"
)

// clouds starts local clouds, one at a time.
type clouds struct {
	python string
	// shared keeps a cloud for what is measured next, which saves time. The memory of its relay
	// is then that of all loads.
	shared bool

	cloud *cloud.Cloud
	// inFlight is the RelayConcurrency of the cloud.
	inFlight int
}

// get returns a cloud whose relay has so many calls in flight for one trigger. If inFlight is 0,
// their number is of no importance.
func (c *clouds) get(ctx context.Context, inFlight int) (*cloud.Cloud, error) {
	if c.shared && c.cloud != nil && (inFlight == 0 || inFlight == c.inFlight) {
		return c.cloud, nil
	}
	c.close()
	next := &cloud.Cloud{
		Root: ".", Python: c.python, Address: "127.0.0.1:0", Now: time.Now, RetryDelay: time.Second, Log: func(string, string) {},
		Parameters: map[string]string{},
	}
	if inFlight > 0 {
		next.Parameters["RelayConcurrency"] = strconv.Itoa(inFlight)
	}
	if err := next.Start(ctx); err != nil {
		return nil, err
	}
	c.cloud, c.inFlight = next, inFlight
	return next, nil
}

// environments returns the environments that the deployed template gives to the functions, by
// their folders.
func (c *clouds) environments() map[string]map[string]string {
	byFolder := map[string]map[string]string{}
	for logicalID, environment := range c.cloud.Environments() {
		byFolder[stack.Label(logicalID)] = environment
	}
	return byFolder
}

// close ends the cloud. A closed cloud still tells the environments.
func (c *clouds) close() {
	if c.cloud != nil {
		c.cloud.Close()
	}
}
