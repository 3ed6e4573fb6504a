// Package shard spreads triggers over the shards of the relay.
package shard

import (
	"hash/fnv"
	"strconv"
)

// Of is the shard of a trigger, one of so many.
func Of(triggerID string, shards int) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(triggerID)) // never fails
	return strconv.Itoa(int(hash.Sum32() % uint32(shards)))
}

// Start is what the relay is invoked with: run that shard.
type Start struct {
	Shard string `json:"shard"`
}
