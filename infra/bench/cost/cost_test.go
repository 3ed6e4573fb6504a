package cost_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"containertriggers/infra/bench/cost"
)

func TestBill_AddsUpWhatTheRunsOfAWorkTake(t *testing.T) {
	t.Parallel()
	bill := cost.Work{
		Units: 2, Occurrences: 1, Requests: 1, Polls: 2,
		Runs: []cost.Run{{
			Invocations: 2, MemoryMB: 1769, Waits: 987500 * time.Microsecond, Reads: 3, Writes: 4, Lines: 10,
			Calls: map[string]int{"dynamodb.GetItem": 1, "kms.Decrypt": 1, "events.PutEvents": 2},
		}},
	}.Bill()
	// Two runs of 987.5 + 2.5 ms and four calls of 10 ms are 2.02 s on a whole CPU.
	for name, part := range map[string][2]float64{
		"source":   {bill.Source, (1 + 1 + 0.8) / 2e6},
		"requests": {bill.Requests, 0.4 / 2e6},
		"time":     {bill.Time, 2.02 * 1769 / 1024 * 0.0000133334 / 2},
		"writes":   {bill.Writes, 4 * 0.625 / 2e6},
		"reads":    {bill.Reads, 3 * 0.125 / 2e6},
		"KMS":      {bill.KMS, 3.0 / 2e6},
		"events":   {bill.Events, 2.0 / 2e6},
		"logs":     {bill.Logs, 10 * 600 * 0.5 / 2e9},
	} {
		if math.Abs(part[0]-part[1]) > 1e-12 {
			t.Errorf("%s: got %g, want %g", name, part[0], part[1])
		}
	}
}

func TestIdle_AddsUpAMonth(t *testing.T) {
	t.Parallel()
	bill := cost.Idle{
		Metrics: 3, Mappings: 1, Pollers: 5,
		EachMinute: []cost.Run{{Invocations: 1, MemoryMB: 128, Reads: 2}},
	}.Bill()
	for name, part := range map[string][2]float64{
		"key": {bill.Key, 1}, "metrics": {bill.Metrics, 0.9},
		"polling":  {bill.Polling, 5 * 30 * 24 * 180 * 0.4 / 1e6},
		"DynamoDB": {bill.DynamoDB, 43_200 * 2 * 0.125 / 1e6},
	} {
		if math.Abs(part[0]-part[1]) > 1e-9 {
			t.Errorf("%s: got %g, want %g", name, part[0], part[1])
		}
	}
}

func TestWrite_ReplacesTheTablesOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "README.md")
	text, err := os.ReadFile("../../README.md")
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err == nil {
		err = cost.Write(path, "| new |\n")
	}
	if err != nil {
		t.Fatal(err)
	}
	if tables, err := cost.In(path); err != nil || tables != "| new |\n" {
		t.Errorf("got %q, %v", tables, err)
	}
	before, err := cost.In("../../README.md")
	if err != nil || !strings.Contains(before, "cron calls") {
		t.Fatalf("the document has %q, %v", before, err)
	}
	if err := cost.Write(path, before); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(path); err != nil || string(again) != string(text) {
		t.Errorf("writing the same tables again changed the document: %v", err)
	}
	if err := cost.Write("cost.go", "x"); err == nil {
		t.Error("a document without a place was written")
	}
}
