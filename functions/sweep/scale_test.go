package main

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"containertriggers/infra/local/measured"
)

// callTime is how long a call takes on the fake clock of the measurement.
const callTime = 20 * time.Millisecond

func TestSweep_KeepsThePaceThatTheREADMEStates(t *testing.T) {
	b := setup(t)
	onQueue, _ := b.onQueue()
	const onSubject = `"nats_config":{"server_urls":["nats://n"],"subject":"s"}`
	var rows [][]string
	for _, of := range []struct {
		name, config string
		rows         int
		counts       []int
	}{
		{"`cron` triggers", daily, 1000, []int{1_000, 10_000, 100_000, 1_000_000}},
		{"`cron` triggers, `SweepRows=5000`", daily, 5000, []int{1_000_000}},
		{"mapped queues", onQueue, 1000, []int{1_000, 10_000, 100_000}},
		{"triggers on the relay", onSubject, 1000, []int{1_000, 1_000_000}},
	} {
		first := b.ready(of.config)
		for _, count := range of.counts {
			aws := newStandIn(b, first, count)
			aws.takes, aws.f.pages = callTime, of.rows/pageSize
			rows = append(rows, append([]string{measured.Number(count) + " " + of.name}, aws.pace(t)...))
		}
	}
	measured.Table(t, "../../infra/README.md", []string{"`sweep` over", "AWS calls of a run", "time of a run", "all are compared in"}, rows)
}

// pace returns the calls and the time of a run over triggers that an earlier run has verified,
// and the time in which one run a minute compares all triggers.
func (s *standIn) pace(t *testing.T) (cells []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		// Of a million schedules, a run lists too few for an earlier run to matter.
		for range map[bool]int{false: 1, true: 2}[s.count < 1_000_000] {
			calls, took, err := s.run(t)
			if err != nil {
				cells = []string{measured.Number(measured.Sum(calls)), seconds(took), "never: the run fails"}
				return
			}
			cells = []string{measured.Number(measured.Sum(calls)), seconds(took), minutes((s.count + s.rows - 1) / s.rows)}
		}
	})
	return cells
}

func seconds(d time.Duration) string { return fmt.Sprintf("%d s", (d+time.Second-1)/time.Second) }

func minutes(n int) string {
	if n < 60 {
		return fmt.Sprintf("%d min", n)
	}
	return fmt.Sprintf("%d h %d min", n/60, n%60)
}

func TestSweep_ComparesOtherTriggersIfItCannotListAllMappingsInTime(t *testing.T) {
	b := setup(t)
	onQueue, _ := b.onQueue()
	aws := newStandIn(b, b.ready(onQueue), 100_000)
	aws.takes = callTime
	synctest.Test(t, func(t *testing.T) {
		if _, took, err := aws.run(t); err == nil || took > scanTime || aws.rows != 1000 {
			t.Errorf("a run read %d rows in %s: %v", aws.rows, took, err)
		}
	})
}
