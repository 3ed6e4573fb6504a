package main

import (
	"testing"
)

func TestSweep_CountsTheRunsThatQueuesMayHaveBeyondTheReserve(t *testing.T) {
	b := setup(t)
	config, _ := b.onQueue()
	b.ready(config)
	all, err := b.sources.Queues.Mappings.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	count := func() int {
		s := &sweep{function: b.function, found: map[string]int{}}
		if _, err := s.mappedQueues(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s.found[beyondReserve]
	}
	// All mappings of the tests here are on one dispatcher.
	wanted := len(all) * int(b.sources.Queues.Mappings.Concurrency)
	b.sources.Queues.Mappings.Reserve = int32(wanted)
	if got := count(); got != 0 {
		t.Errorf("got %d within the reserve", got)
	}
	b.sources.Queues.Mappings.Reserve = int32(wanted - 3)
	if got := count(); got != 3 {
		t.Errorf("got %d, want 3", got)
	}
}
