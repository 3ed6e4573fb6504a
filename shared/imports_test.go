// Package shared_test checks the structure of the source tree.
package shared_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// module is the path that imports of this project begin with.
const module = "containertriggers/"

// floors ranks the folders of the production code. A package imports packages of
// its own floor and of the floors below it.
var floors = map[string]int{
	"shared/contract": 0,
	"shared/platform": 0,
	"shared/domain":   1,
	"shared/aws":      2,
	"shared/dispatch": 3,
	"shared/relay":    4,
	"shared/source":   5,
	"shared/api":      5,
	"functions":       6,
}

// floorOf returns the rank of the package at that path below the module's root.
// It returns false if no floor has the package.
func floorOf(pkg string) (rank int, ok bool) {
	for folder := pkg; folder != "."; folder = path.Dir(folder) {
		if rank, ok := floors[folder]; ok {
			return rank, true
		}
	}
	return 0, false
}

// mayImport reports whether a package of this project may import another one. Both
// are paths below the module's root.
func mayImport(importer, imported string) bool {
	above, ok := floorOf(importer)
	below, known := floorOf(imported)
	return ok && known && below <= above
}

func TestImports_NeverGoUp(t *testing.T) {
	t.Parallel()
	for _, root := range []string{"shared", "functions"} {
		err := filepath.WalkDir(filepath.Join("..", root), func(file string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() && entry.Name() == "testdata" {
				return fs.SkipDir
			}
			// Tests may use the local cloud.
			if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return nil
			}
			// Parsing reads files of every build tag; listing packages would not.
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			importer := path.Dir(filepath.ToSlash(strings.TrimPrefix(file, ".."+string(filepath.Separator))))
			for _, spec := range parsed.Imports {
				imported, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return err
				}
				if imported, ours := strings.CutPrefix(imported, module); ours && !mayImport(importer, imported) {
					t.Errorf("%s imports %s, which is on a floor above it or on none", file, imported)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestMayImport_AllowsTheSameFloorAndLowerOnes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		importer, imported string
		want               bool
	}{
		{"functions/sweep", "shared/source", true},
		{"shared/source", "shared/relay/shard", true},
		{"shared/relay", "shared/relay/natsconn", true},
		{"shared/domain/trigger", "shared/domain/cron", true},
		{"shared/domain/trigger", "shared/contract/apierr", true},
		{"shared/contract/apierr", "shared/domain/trigger", false},
		{"shared/domain/trigger", "shared/aws/store", false},
		{"shared/dispatch/invoke", "shared/relay", false},
		{"shared/relay/shard", "functions/relay", false},
		{"shared/api/httpapi", "infra/local/cloud", false},
		{"functions/sweep", "infra/local/moto", false},
		{"shared/stray", "shared/contract/apierr", false},
	} {
		if got := mayImport(test.importer, test.imported); got != test.want {
			t.Errorf("mayImport(%q, %q) = %t, want %t", test.importer, test.imported, got, test.want)
		}
	}
}
