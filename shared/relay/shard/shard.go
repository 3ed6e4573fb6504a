// Package shard spreads triggers over the shards of the relay.
package shard

import (
	"hash/fnv"
	"strconv"
)

// Of returns the shard of a trigger. It returns the same shard as long as shards stays the
// same.
func Of(triggerID string, shards int) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(triggerID)) // never fails
	return strconv.Itoa(int(hash.Sum32() % uint32(shards)))
}

// StartEvent is the event of the relay's function. It names the shard to run.
type StartEvent struct {
	Shard string `json:"shard"`
}
