package main

import (
	"testing"
	"time"

	"containertriggers/infra/local/measured"
)

const (
	manyTriggers = 2_000
	mostCalls    = 60
)

// TestSweep_RequeuesTriggersWithDriftedSchedules runs on moto.
func TestSweep_MakesFewCallsForManyUnchangedTriggers(t *testing.T) {
	b := setup(t)
	aws := newStandIn(b, b.ready(daily), manyTriggers)
	aws.f.scanTime = time.Hour // this machine may be busy
	run := func() map[string]int {
		t.Helper()
		calls, took, err := aws.run(t)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d calls in %s: %v", measured.Sum(calls), took, calls)
		return calls
	}
	// A trigger may have two schedules, which are read, and is verified then.
	if calls := run(); calls["GetSchedule"] != 2000 || calls["UpdateItem"] != 1000 {
		t.Fatalf("a run over triggers that are not verified made %v", calls)
	}
	calls := run()
	if measured.Sum(calls) > mostCalls || calls["GetSchedule"] > 0 || calls["UpdateItem"] > 0 {
		t.Errorf("a run over unchanged triggers made %d calls: %v", measured.Sum(calls), calls)
	}

	changed, gone := aws.scanned(0), aws.scanned(1)
	aws.changed[changed], aws.gone[gone] = time.Now(), true
	if calls := run(); calls["GetSchedule"] != 3 || calls["UpdateItem"] != 1 {
		t.Errorf("a run over a changed trigger and one without its schedule made %v", calls)
	}
}
