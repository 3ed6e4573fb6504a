package apierr

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// constructed has an error of each function that makes one, by the function's name.
// An Arguments makes the same error as InvalidArgument.
var constructed = map[string]*Error{
	"DeniedAuthentication": DeniedAuthentication(DeniedExpired),
	"Internal":             Internal(),
	"InvalidArgument":      InvalidArgument("name", Required, "name is required"),
	"MethodNotAllowed":     MethodNotAllowed(http.MethodGet),
	"NotFound":             NotFound("trigger", "id"),
	"PermissionsDenied":    PermissionsDenied("write", "trigger"),
	"QuotasExceeded":       QuotasExceeded(Quota{}),
	"TooManyRequests":      TooManyRequests(1),
	"TransientState":       TransientState("trigger", "id", "deleting"),
}

func TestCatalog_HasTheErrorOfEachConstructor(t *testing.T) {
	t.Parallel()
	if got, want := slices.Sorted(maps.Keys(constructed)), constructors(t); !slices.Equal(got, want) {
		t.Fatalf("this test knows the constructors %v, but the package has %v", got, want)
	}
	// Package httpapi gives an invalid body these statuses.
	want := []string{
		row(TypeInvalidArguments, http.StatusRequestEntityTooLarge), row(TypeInvalidArguments, http.StatusUnsupportedMediaType),
	}
	for _, e := range constructed {
		want = append(want, row(e.Type, e.Status))
	}
	slices.Sort(want)
	if got := catalog(t); !slices.Equal(got, want) {
		t.Errorf("events/README.md has the errors\n%v\nbut the package has\n%v", got, want)
	}
}

func row(kind Type, status int) string { return fmt.Sprintf("%s %d", kind, status) }

// constructors returns the names of the package's functions that return an *Error of
// their own. From only finds one.
func constructors(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range file.Decls {
			f, ok := declared.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !f.Name.IsExported() || f.Type.Results.NumFields() != 1 || finds(f) {
				continue
			}
			if pointer, ok := f.Type.Results.List[0].Type.(*ast.StarExpr); ok && pointer.X.(*ast.Ident).Name == "Error" {
				names = append(names, f.Name.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// finds reports whether a function takes an error, in which it finds an *Error.
func finds(f *ast.FuncDecl) bool {
	if f.Type.Params.NumFields() != 1 {
		return false
	}
	parameter, ok := f.Type.Params.List[0].Type.(*ast.Ident)
	return ok && parameter.Name == "error"
}

// catalog returns the types and statuses of the table of errors in events/README.md.
func catalog(t *testing.T) []string {
	t.Helper()
	root := "."
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if len(root) > 100 {
			t.Fatal("there is no go.mod above this folder")
		}
		root = filepath.Join("..", root)
	}
	text, err := os.ReadFile(filepath.Join(root, "events", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n| type | status | when |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var rows []string
	for _, match := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\d+) \\| \\S").FindAllStringSubmatch(table, -1) {
		rows = append(rows, match[1]+" "+match[2])
	}
	slices.Sort(rows)
	return rows
}
