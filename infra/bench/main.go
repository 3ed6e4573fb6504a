// Command bench measures lists, the relay, the dispatchers and the functions' starts. It compares
// the relay and the starts with a floor in the same run, because ratios say more than the figures
// of one machine. It prints tables. With -short it measures little, to show that the measuring works.
//
// Lists are measured with the function's binary on a stand-in for DynamoDB, whose calls and units
// are counted.
//
// The floor of the relay is a plain subscriber of nats.go, or a receiver with the AWS SDK, that
// posts with net/http. NATS server, queue, publisher and container run in this process for
// both. The floor of a start is a hello-world function.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"text/tabwriter"
	"time"

	"containertriggers/infra/local/moto"
)

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	short := flag.Bool("short", false, "measure little, to show that the measuring works")
	flag.Parse()
	of := thorough
	if *short {
		of = brief
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, of); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// The Makefile builds the floors here.
var (
	floorBinary = filepath.Join(".build", "bin", "floor")
	helloBinary = filepath.Join(".build", "bin", "hello")
)

// effort is how much is measured.
type effort struct {
	loads []load
	// scarce are loads with little CPU.
	scarce []load
	// rounds is how often the relay and its floor take turns. The tables show medians,
	// because other work of the machine affects single rounds.
	rounds int
	// fixedTime is the time for which latencies are measured.
	fixedTime time.Duration
	// shared makes what is measured share a cloud.
	shared     bool
	dispatches []dispatch
	// invocations is the number of invocations of a dispatcher.
	invocations int
	// starts is the number of starts of each binary.
	starts int
	// triggers are the numbers of triggers that are listed.
	triggers []int
}

var (
	thorough = effort{
		loads: thoroughLoads, scarce: thoroughScarce, rounds: 3, fixedTime: 5 * time.Second, dispatches: thoroughDispatches, invocations: 1_000,
		starts: 25, triggers: []int{100, 1_000, 10_000, 100_000},
	}
	brief = effort{
		loads: briefLoads, scarce: briefScarce, rounds: 1, fixedTime: 500 * time.Millisecond, dispatches: briefDispatches, invocations: 10, shared: true,
		starts: 2, triggers: []int{100, 1_000},
	}
)

func run(ctx context.Context, of effort) error {
	fmt.Println("Lists: page 1 of 20 triggers, and all pages of 100; units of DynamoDB, and how often the index is read over")
	if err := listsTable(ctx, of.triggers); err != nil {
		return err
	}
	fmt.Println("\nThe relay: 200-byte messages to HTTP, against a plain subscriber or receiver")
	on := &clouds{python: moto.Python(), shared: of.shared}
	defer on.close()
	if err := relayTable(ctx, on, of, of.loads, quota{}); err != nil {
		return err
	}
	if err := quotaTable(ctx, on, of); err != nil {
		return err
	}
	fmt.Println("\nDispatchers: for one message in a batch of 10, or for one occurrence; the time that its CPU work takes with the CPU of a function of N MB")
	if err := dispatchTable(ctx, on, of.dispatches, of.invocations); err != nil {
		return err
	}
	on.close() // it would slow the starts
	fmt.Printf("\nStarts: from exec to the first poll of the Runtime API, median of %d\n", of.starts)
	return startTable(ctx, on.environments(), of.starts)
}

// table prints rows of aligned columns.
func table(header string, rows [][]string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, header)
	for _, row := range rows {
		for _, cell := range row {
			fmt.Fprint(w, cell, "\t")
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // to the terminal
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }
