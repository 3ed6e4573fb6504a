// Package build_test shows that what `sam build` makes fits the architecture that
// the template deploys.
package build_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func template(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// machines are the processors of the values of the parameter Architecture.
var machines = map[string]elf.Machine{"arm64": elf.EM_AARCH64, "x86_64": elf.EM_X86_64}

// run runs `make build-<function>` as `sam build` does, and returns its output.
func run(t *testing.T, architecture, function, artifacts string, flags ...string) string {
	t.Helper()
	arguments := append([]string{"-C", architecture, "build-" + function, "ARTIFACTS_DIR=" + artifacts}, flags...)
	output, err := exec.CommandContext(t.Context(), "make", arguments...).CombinedOutput()
	if err != nil {
		t.Fatalf("building %s for %s: %v\n%s", function, architecture, err, output)
	}
	return string(output)
}

// The rules differ only in the function's folder, so building one function shows the
// architecture, and the commands show the folders of the others.
func TestMakefiles_BuildEachFunctionForTheArchitectureOfTheirFolder(t *testing.T) {
	t.Parallel()
	functions := regexp.MustCompile(`(?m)^  (\w+Function):\n    Type: AWS::Serverless::Function$`).FindAllStringSubmatch(template(t), -1)
	if len(functions) == 0 {
		t.Fatal("the template has no function")
	}
	for architecture, machine := range machines {
		var built string
		for _, function := range functions {
			command := run(t, architecture, function[1], "artifacts", "-n")
			_, folder, _ := strings.Cut(strings.TrimSpace(command), `-o "artifacts/bootstrap" ./`)
			folder, _, _ = strings.Cut(folder, "\n")
			// The shell of the rule derives the folder's name.
			name, err := exec.CommandContext(t.Context(), "sh", "-c", "echo "+folder).Output()
			if err != nil {
				t.Fatalf("deriving the folder of %s: %v", function[1], err)
			}
			if _, err := os.Stat(filepath.Join("../..", strings.TrimSpace(string(name)), "main.go")); err != nil {
				t.Errorf("%s for %s is not built from a function: %v\n%s", function[1], architecture, err, command)
			}
			// All but the folder is the same for each function.
			same := strings.Replace(command, folder, "", 1)
			if built == "" {
				built = same
			} else if same != built {
				t.Errorf("%s for %s is built by another command:\n%s", function[1], architecture, command)
			}
		}
		artifacts := t.TempDir()
		run(t, architecture, functions[0][1], artifacts)
		binary, err := elf.Open(filepath.Join(artifacts, "bootstrap"))
		if err != nil {
			t.Fatal(err)
		}
		if binary.Machine != machine {
			t.Errorf("%s for %s: got a binary for %s", functions[0][1], architecture, binary.Machine)
		}
		_ = binary.Close() // it was only read
	}
}

func TestTemplate_DeploysEachFunctionOnTheArchitectureThatItIsBuiltFor(t *testing.T) {
	t.Parallel()
	text := template(t)
	for _, line := range []string{"    CodeUri: !Sub infra/build/${Architecture}\n", "    Architectures: [!Ref Architecture]\n"} {
		name, _, _ := strings.Cut(line, ":")
		if !strings.Contains(text, line) || strings.Count(text, name[4:]+":") != 1 {
			t.Errorf("not every function has%s", line)
		}
	}
	parameter := regexp.MustCompile(`  Architecture:\n(?:    .*\n)*?    AllowedValues: \[(.*)\]`).FindStringSubmatch(text)
	if parameter == nil {
		t.Fatal("the template has no parameter Architecture")
	}
	folders, err := filepath.Glob("*/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for i, folder := range folders {
		folders[i] = filepath.Dir(folder)
	}
	if allowed := strings.Split(parameter[1], ", "); !slices.Equal(allowed, folders) || len(allowed) != len(machines) {
		t.Errorf("the template allows %v, there are makefiles for %v", allowed, folders)
	}
}
