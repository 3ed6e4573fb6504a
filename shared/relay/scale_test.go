package relay

import (
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"

	"containertriggers/infra/local/measured"
	"containertriggers/shared/domain/trigger"
	"containertriggers/shared/relay/shard"
)

func TestShards_HoldAsManyTriggersAsTheREADMEStates(t *testing.T) {
	t.Parallel()
	var rows [][]string
	for _, shards := range []int{1, 5, 10, 50, 100} {
		rows = append(rows, []string{
			measured.Number(shards), measured.Number(heldBy(t, shards, trigger.Trigger{NATS: &trigger.NATS{}})), measured.Number(heldBy(t, shards, trigger.Trigger{SQS: &trigger.SQS{}})),
		})
	}
	measured.Table(t, "../../infra/README.md", []string{"`RelayShards`", "NATS subjects", "or queues elsewhere"}, rows)
}

// heldBy returns how many triggers like one the shards hold before one of them is full.
func heldBy(t *testing.T, shards int, like trigger.Trigger) int {
	t.Helper()
	room := int(maxConnections / (sourceConnections(like) + minOwnCalls))
	random, of := rand.NewChaCha8([32]byte{}), map[string]int{}
	for held := 0; ; held++ {
		id, err := uuid.NewRandomFromReader(random)
		if err != nil {
			t.Fatal(err)
		}
		one := shard.Of(id.String(), shards)
		if of[one]++; of[one] > room {
			return held
		}
	}
}
