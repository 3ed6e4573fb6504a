package shard

import (
	"testing"

	"github.com/google/uuid"
)

func TestOf_SpreadsTriggersAndNeverMovesThem(t *testing.T) {
	t.Parallel()
	const triggers, shards = 4000, 4
	count := map[string]int{}
	for range triggers {
		id := uuid.NewString()
		of := Of(id, shards)
		if again := Of(id, shards); again != of {
			t.Fatalf("%s is on %s and on %s", id, of, again)
		}
		if Of(id, 1) != "0" {
			t.Fatalf("of one shard %s is on %s", id, Of(id, 1))
		}
		count[of]++
	}
	for of, n := range count {
		if n < triggers/shards/2 || n > triggers/shards*2 {
			t.Errorf("shard %s has %d of %d triggers", of, n, triggers)
		}
	}
	if len(count) != shards {
		t.Errorf("got %v", count)
	}
	// A new version must not move the triggers of a deployment.
	if got := Of("8f5d9521-e950-41e0-b980-b85131050aff", 100); got != "73" {
		t.Errorf("got %s", got)
	}
}
