package measured

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// noted is a test that notes its errors.
type noted struct {
	testing.TB
	errors []string
}

func (n *noted) Errorf(format string, args ...any) {
	n.errors = append(n.errors, fmt.Sprintf(format, args...))
}

func TestTable_ComparesAndReplacesOneTableOfADocument(t *testing.T) {
	document := filepath.Join(t.TempDir(), "README.md")
	const text = "A table:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n| other | b |\n|---|---|\n| 5 | 6 |\n\nend\n"
	if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	compare := func(rows ...[]string) (differs bool) {
		one := &noted{TB: t}
		Table(one, document, []string{"a", "b"}, rows)
		return len(one.errors) > 0
	}
	if compare([]string{"1", "2"}) {
		t.Error("the table differs from its own rows")
	}
	others := [][]string{{"1", "3"}, {Number(1234567), "4"}}
	if !compare(others...) {
		t.Error("the table does not differ from other rows")
	}
	*update = true
	defer func() { *update = false }()
	if compare(others...) {
		t.Error("an update reports a difference")
	}
	const want = "A table:\n\n| a | b |\n|---|---|\n| 1 | 3 |\n| 1,234,567 | 4 |\n\n| other | b |\n|---|---|\n| 5 | 6 |\n\nend\n"
	if got, err := os.ReadFile(document); err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
}
