package watchdog

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/google/uuid"

	"containertriggers/infra/local/guard/guardtest"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/shared/aws/store"
)

func TestStart_InvokesTheRelayIfTheShardWantsOne(t *testing.T) {
	t.Parallel()
	aws, cfg := guardtest.Start(t)
	env := mototest.Environment(t, "sweep")
	var started []string
	aws.SetInvoke(func(function string, payload []byte) error {
		started = append(started, function+" "+string(payload))
		return nil
	})
	now := time.Now()
	s := Starter{
		Client: lambda.NewFromConfig(cfg), RelayARN: env["RELAY_ARN"], Now: func() time.Time { return now },
		Leases: store.Leases{Client: dynamodb.NewFromConfig(cfg), Table: env["CLAIMS_TABLE"]},
	}
	shard := uuid.NewString()
	expect := func(what string, want int) {
		t.Helper()
		started = nil
		if err := s.Start(t.Context(), shard); err != nil {
			t.Fatal(err)
		}
		if len(started) != want || want == 1 && started[0] != env["RELAY_ARN"]+` {"shard":"`+shard+`"}` {
			t.Errorf("%s: started %v", what, started)
		}
	}
	renew := func(ending bool) {
		t.Helper()
		if err := s.Leases.Renew(t.Context(), shard, "holder", now.Add(time.Minute), ending); err != nil {
			t.Fatal(err)
		}
	}
	expect("without a lease", 1)
	if err := s.Leases.Take(t.Context(), shard, "holder", now, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	expect("with a holder", 0)
	renew(true)
	expect("with a holder that is about to end", 1)
	renew(false)
	now = now.Add(2 * time.Minute)
	expect("with a holder that died", 1)
	if err := s.Leases.Drop(t.Context(), shard, "holder"); err != nil {
		t.Fatal(err)
	}
	expect("after its end", 1)
}
