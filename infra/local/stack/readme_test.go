package stack_test

import (
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestREADME_HasTheTemplatesParameters(t *testing.T) {
	t.Parallel()
	_, rest, found := strings.Cut(read(t, "../../../template.yaml"), "\nParameters:\n")
	if !found {
		t.Fatal("the template has no parameters")
	}
	// The next section begins in the first column.
	section := regexp.MustCompile(`(?m)^\S`).Split(rest, 2)[0]
	want := map[string]string{}
	for name, parameter := range named(section) {
		defaultValue := regexp.MustCompile(`(?m)^    Default: (.+)$`).FindStringSubmatch(parameter)
		if defaultValue == nil {
			t.Fatalf("the parameter %s has no default", name)
		}
		want[name] = strings.Trim(defaultValue[1], `"`)
	}
	if got := rows(t, "parameter"); !maps.Equal(got, want) {
		t.Errorf("infra/README.md has the parameters and defaults\n%v\nbut template.yaml has\n%v", got, want)
	}
}

func TestRunbook_SaysOfEachAlarmWhatItMeansAndWhatToDo(t *testing.T) {
	t.Parallel()
	_, chapter, found := strings.Cut(read(t, "../../RUNBOOK.md"), "\n## Alarms\n")
	if !found {
		t.Fatal("infra/RUNBOOK.md has no chapter on alarms")
	}
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	sections := map[string]string{}
	for _, section := range strings.Split(chapter, "\n### ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		sections[name] = body
	}
	for name, resource := range named(read(t, "../../../template.yaml")) {
		if !strings.Contains(resource, "Type: AWS::CloudWatch::Alarm") {
			continue
		}
		if body := sections[name]; !strings.Contains(body, "\n**Means:** ") || !strings.Contains(body, "\n**Do:** ") {
			t.Errorf("infra/RUNBOOK.md does not say what %s means and what to do", name)
		}
		delete(sections, name)
	}
	for name := range sections {
		t.Errorf("infra/RUNBOOK.md has the alarm %s, which the template has not", name)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// named returns the template's parameters or resources in a text by their names.
func named(text string) map[string]string {
	header := regexp.MustCompile(`(?m)^  (\w+):\n`)
	bodies := header.Split(text, -1)
	all := map[string]string{}
	for i, match := range header.FindAllStringSubmatch(text, -1) {
		all[match[1]] = bodies[i+1]
	}
	return all
}

// rows returns the second cell by the first one of the README's table whose first
// column has that title, without the backquotes.
func rows(t *testing.T, title string) map[string]string {
	t.Helper()
	_, table, found := strings.Cut(read(t, "../../README.md"), "\n| "+title+" |")
	if !found {
		t.Fatalf("infra/README.md has no table of %ss", title)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	all := map[string]string{}
	for _, row := range strings.Split(table, "\n")[2:] { // after the title and the rule
		cells := strings.Split(row, "|")
		name := strings.Trim(cells[1], " `")
		if _, twice := all[name]; twice {
			t.Errorf("infra/README.md has the %s %s twice", title, name)
		}
		all[name] = strings.Trim(cells[2], " `")
	}
	return all
}
