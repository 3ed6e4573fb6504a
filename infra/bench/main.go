// Command bench measures the relay and the functions' starts, each against its floor
// in the same run: figures of one machine mean little, ratios more. It prints
// tables.
//
// The floor of the relay is a plain nats.go subscriber that posts with net/http;
// NATS server, publisher and container run in this process for both. The floor of
// a start is a hello-world function.
package main

import (
	"context"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// Where the Makefile builds the floors.
var (
	floorBinary = filepath.Join(".build", "bin", "floor")
	helloBinary = filepath.Join(".build", "bin", "hello")
)

func run(ctx context.Context) error {
	fmt.Println("NATS to HTTP: 200-byte messages, the relay against a plain subscriber")
	if err := relayTables(ctx, moto.Python()); err != nil {
		return err
	}
	fmt.Printf("\nStarts: from exec to the first poll of the Runtime API, median of %d\n", starts)
	return startTable(ctx)
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
