package cost

import (
	"fmt"
	"os"
	"strings"
)

// Result is all that was counted.
type Result struct {
	// Calls are the works of the first table, Operations those of the API and of reconcile.
	Calls, Operations []Work
	Idle              []Idle
	// AlarmMetrics is the number of metrics that the alarms read.
	AlarmMetrics  int
	RelayMemoryMB int
}

// Markdown returns the tables of the result.
func (r Result) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "In dollars per million, by the list prices of us-east-1 in the first half of 2026 (`infra/bench/cost/prices.go`):\n\n")
	fmt.Fprintln(&b, "| a million of | source | Lambda | DynamoDB | KMS, events, logs | **total** | the least that AWS can do |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|")
	for _, w := range r.Calls {
		bill := w.Bill()
		raw := "-"
		if w.Raw > 0 {
			raw = fmt.Sprintf("%s: %s (x%.2f)", w.RawName, dollars(w.Raw*million), bill.Total()/w.Raw)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | **%s** | %s |\n", w.Name, dollars(bill.Source*million), dollars((bill.Requests+bill.Time)*million),
			dollars((bill.Writes+bill.Reads)*million), dollars((bill.KMS+bill.Events+bill.Logs)*million), dollars(bill.Total()*million), raw)
	}
	b.WriteString(r.promises())
	fmt.Fprintf(&b, "\nA NATS message costs nothing of its own: a shard of the relay runs as long as it has a trigger, for %s a month.\n\n", dollars(RelayMonth(r.RelayMemoryMB)))
	fmt.Fprintln(&b, "| a month with | KMS key | metrics | polling of queues | `sweep`, `watch` | DynamoDB | logs | **total** |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|")
	for _, i := range r.Idle {
		bill := i.Bill()
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | **%s** |\n", i.Name, dollars(bill.Key), dollars(bill.Metrics),
			dollars(bill.Polling), dollars(bill.Runs), dollars(bill.DynamoDB), dollars(bill.Logs), dollars(bill.Total()))
	}
	fmt.Fprintf(&b, "\nWith `AlarmTopic`, the alarms read %d metrics for %s a month more.\n", r.AlarmMetrics, dollars(AlarmsMonth(r.AlarmMetrics)))
	fmt.Fprintln(&b, "\nWhat an operation of the API does, and what `reconcile` does for it then:")
	fmt.Fprintln(&b, "\n| operation | calls of AWS | read units | write units | a million |")
	fmt.Fprintln(&b, "|---|---|---|---|---|")
	for _, w := range r.Operations {
		var calls []string
		var reads, writes float64
		for _, run := range w.Runs {
			reads, writes = reads+run.Reads, writes+run.Writes
			for _, name := range run.sorted() {
				if calls = append(calls, short(name)); run.Calls[name] > 1 {
					calls[len(calls)-1] += fmt.Sprintf(" x%d", run.Calls[name])
				}
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %g | %g | %s |\n", w.Name, strings.Join(calls, ", "), reads, writes, dollars(w.Bill().Total()*million))
	}
	return b.String()
}

// promises returns the table of what the parts of the first work are for.
func (r Result) promises() string {
	if len(r.Calls) == 0 {
		return ""
	}
	first, bill := r.Calls[0], r.Calls[0].Bill()
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe parts of a million %s, and what they are for:\n\n| part | price | promise |\n|---|---|---|\n", first.Name)
	for _, part := range []struct {
		name    string
		price   float64
		promise string
	}{
		{"EventBridge Scheduler", bill.Source, "schedules in time zones, retried for 24 hours"},
		{"requests of Lambda", bill.Requests, "a call to any address, with any method, headers and token"},
		{"time of Lambda", bill.Time, "a container may take 14 minutes, not 5 seconds; its answer counts"},
		{"writes", bill.Writes, "an occurrence that AWS delivers twice is one call; the API shows what happened and runs it again"},
		{"consistent reads", bill.Reads, "an update, a pause or a deletion holds from the next call on"},
		{"KMS", bill.KMS, "tokens are encrypted; each is decrypted once in a while"},
		{"a line of the log", bill.Logs, "metrics of runs"},
	} {
		if part.price > 0 {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", part.name, dollars(part.price*million), part.promise)
		}
	}
	return b.String()
}

// short returns an operation without the service that most operations are of.
func short(operation string) string { return strings.TrimPrefix(operation, "dynamodb.") }

func dollars(amount float64) string { return fmt.Sprintf("$%.2f", amount) }

// The lines of a document between which the tables are.
const (
	begins = "<!-- costs: make bench writes these tables -->\n"
	ends   = "<!-- end of costs -->\n"
)

// split returns a document's text before, between and after the lines.
func split(path string) (before, between, after string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", "", "", err
	}
	before, rest, found := strings.Cut(string(text), begins)
	between, after, found2 := strings.Cut(rest, ends)
	if !found || !found2 {
		return "", "", "", fmt.Errorf("%s has no place for the tables of costs", path)
	}
	return before, between, after, nil
}

// In returns the tables that a document has.
func In(path string) (string, error) {
	_, tables, _, err := split(path)
	return tables, err
}

// Write puts the tables into a document.
func Write(path, tables string) error {
	before, _, after, err := split(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(before+begins+tables+ends+after), 0o644)
}
