// Package measured compares tables of documents with what tests measure, so that a figure in a
// document cannot outlive the code that it describes.
package measured

import (
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the measured tables into the documents instead of comparing with them")

// Table compares the table of a document that has this header with rows, or replaces it if the
// test has the flag -update. A header and a row are the texts of their cells.
func Table(tb testing.TB, document string, header []string, rows [][]string) {
	tb.Helper()
	content, err := os.ReadFile(document)
	if err != nil {
		tb.Fatal(err)
	}
	title := line(header)
	before, rest, found := strings.Cut(string(content), "\n"+title)
	if !found {
		tb.Fatalf("%s has no table with the header\n%s", document, title)
	}
	old, after, _ := strings.Cut(rest, "\n\n")
	measured := strings.Repeat("|---", len(header)) + "|"
	for _, row := range rows {
		measured += "\n" + strings.TrimSuffix(line(row), "\n")
	}
	switch {
	case old == measured:
	case *update:
		if err := os.WriteFile(document, []byte(before+"\n"+title+measured+"\n\n"+after), 0o600); err != nil {
			tb.Fatal(err)
		}
	default:
		tb.Errorf("%s has the table\n%s%s\nbut this was measured (go test -update writes it):\n%s", document, title, old, measured)
	}
}

func line(cells []string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// Number writes a number with commas.
func Number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
