package stack_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"containertriggers/infra/local/stack"
)

// module is the path that imports of this project begin with.
const module = "containertriggers/"

// root is the module's folder.
const root = "../../.."

// source is the code of a package.
type source struct {
	files []*ast.File
	// imports are the folders of the project's packages by the names that the files use.
	imports map[string]string
}

// parsed has the packages that parsePackage has parsed, by their folders.
var parsed sync.Map

// parsePackage parses what a deployed build has of the package in a folder.
func parsePackage(t *testing.T, folder string) source {
	t.Helper()
	if known, ok := parsed.Load(folder); ok {
		return known.(source)
	}
	code := source{imports: map[string]string{}}
	paths, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		deployed, err := build.Default.MatchFile(filepath.Dir(path), filepath.Base(path))
		if err != nil {
			t.Fatal(err)
		}
		if !deployed || strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		code.files = append(code.files, file)
		for _, spec := range file.Imports {
			if imported, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module); ours {
				name := filepath.Base(imported)
				if spec.Name != nil {
					name = spec.Name.Name
				}
				code.imports[name] = imported
			}
		}
	}
	parsed.Store(folder, code)
	return code
}

// closure returns the packages of this project that a function consists of, by their
// folders.
func closure(t *testing.T, folder string, all map[string]source) map[string]source {
	t.Helper()
	if _, done := all[folder]; !done {
		all[folder] = parsePackage(t, folder)
		for _, imported := range all[folder].imports {
			closure(t, imported, all)
		}
	}
	return all
}

// inspect visits the nodes of a package.
func (s source) inspect(visit func(ast.Node)) {
	for _, file := range s.files {
		ast.Inspect(file, func(node ast.Node) bool {
			visit(node)
			return true
		})
	}
}

// settings adds the variables that the struct type of an expression reads by its tags, with
// those of the structs within it.
func (s source) settings(t *testing.T, expression ast.Expr, variables map[string]bool) {
	t.Helper()
	switch expression := expression.(type) {
	case *ast.SelectorExpr:
		if of, ok := expression.X.(*ast.Ident); ok && s.imports[of.Name] != "" {
			parsePackage(t, s.imports[of.Name]).settings(t, expression.Sel, variables)
		}
	case *ast.Ident:
		s.inspect(func(node ast.Node) {
			if declared, ok := node.(*ast.TypeSpec); ok && declared.Name.Name == expression.Name {
				s.settings(t, declared.Type, variables)
			}
		})
	case *ast.StructType:
		for _, field := range expression.Fields.List {
			if name := tagged(field); name != "" {
				variables[name] = true
			} else {
				s.settings(t, field.Type, variables)
			}
		}
	}
}

// tagged returns the variable that a field's tag names.
func tagged(field *ast.Field) string {
	if field.Tag == nil {
		return ""
	}
	name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("env"), ",")
	return name
}

// reads returns the variables that the function in a folder reads: by the tags of its
// settings, and by os.Getenv in the packages that it consists of.
func reads(t *testing.T, folder string) map[string]bool {
	t.Helper()
	variables := map[string]bool{}
	all := closure(t, folder, map[string]source{})
	all[folder].inspect(func(node ast.Node) {
		switch node := node.(type) {
		case *ast.StructType:
			if slices.ContainsFunc(node.Fields.List, func(field *ast.Field) bool { return tagged(field) != "" }) {
				all[folder].settings(t, node, variables)
			}
		case *ast.IndexExpr: // awsconfig.Settings[S]()
			if called, ok := node.X.(*ast.SelectorExpr); ok && called.Sel.Name == "Settings" {
				all[folder].settings(t, node.Index, variables)
			}
		}
	})
	for _, one := range all {
		one.inspect(func(node ast.Node) {
			call, ok := node.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return
			}
			if called, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Getenv", "LookupEnv"}, called.Sel.Name) {
				if name, ok := call.Args[0].(*ast.BasicLit); ok {
					variables[strings.Trim(name.Value, `"`)] = true
				}
			}
		})
	}
	return variables
}

// folder returns the folder of a function's code.
func folder(logicalID string, function stack.Resource) string {
	if function.Metadata.Function != "" {
		return "functions/" + function.Metadata.Function
	}
	return "functions/" + stack.Label(logicalID)
}

// set returns the variables that the template gives to a function.
func set(function stack.Resource) map[string]bool {
	variables := map[string]bool{}
	for name := range function.Properties["Environment"].(map[string]any)["Variables"].(map[string]any) {
		variables[name] = true
	}
	return variables
}

// ofLambda are the variables that Lambda sets.
// Source: Lambda Developer Guide, "Defined runtime environment variables".
var ofLambda = regexp.MustCompile(`^(AWS_(REGION|ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|LAMBDA_\w+)|_HANDLER|TZ)$`)

func TestTemplate_SetsTheVariablesThatFunctionsRead(t *testing.T) {
	t.Parallel()
	functions := ofType(deployment(t, "options"), "AWS::Lambda::Function") // with the variables that only some deployments get
	var shared map[string]bool                                             // what every function gets
	for _, function := range functions {
		if own := set(function); shared == nil {
			shared = own
		} else {
			maps.DeleteFunc(shared, func(name string, _ bool) bool { return !own[name] })
		}
	}
	unread := maps.Clone(shared)
	for logicalID, function := range functions {
		given, read := set(function), reads(t, folder(logicalID, function))
		for name := range read {
			delete(unread, name)
			if !given[name] && !ofLambda.MatchString(name) {
				t.Errorf("%s reads %s, which the template does not set", logicalID, name)
			}
		}
		for name := range given {
			if !shared[name] && !read[name] {
				t.Errorf("the template sets %s, which %s does not read", name, logicalID)
			}
		}
	}
	for name := range unread {
		t.Errorf("the template sets %s, which no function reads", name)
	}
}

// emitted returns the names of the metrics that the function in a folder may emit: the
// strings in the packages that use package metric, and the constants of package metric, which
// have the names of their values.
func emitted(t *testing.T, folder string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, one := range closure(t, folder, map[string]source{}) {
		if one.imports["metric"] == "" {
			continue
		}
		one.inspect(func(node ast.Node) {
			if constant, ok := node.(*ast.SelectorExpr); ok {
				if of, ok := constant.X.(*ast.Ident); ok && of.Name == "metric" {
					names[constant.Sel.Name] = true
				}
			}
			if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				if text, err := strconv.Unquote(literal.Value); err == nil {
					names[text] = true
				}
			}
		})
	}
	return names
}
