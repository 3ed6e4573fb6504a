package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestExample_SetsTheVariablesOfTheTerraformExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../terraform-example/variables.tf")
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]bool{}
	for _, variable := range example("api", "fr-par", "container", "sqs", "queue", "nats") {
		name, value, _ := strings.Cut(strings.TrimPrefix(variable, "TF_VAR_"), "=")
		set[name] = value != ""
	}
	declared := regexp.MustCompile(`(?s)variable "(\w+)" \{(.*?)\n\}`).FindAllStringSubmatch(string(text), -1)
	for _, variable := range declared {
		name, hasDefault := variable[1], strings.Contains(variable[2], "default")
		if !set[name] && !hasDefault {
			t.Errorf("the example wants %s, which is not set", name)
		}
		delete(set, name)
	}
	if len(declared) == 0 || len(set) > 0 {
		t.Errorf("of %d variables, the example does not declare %v", len(declared), set)
	}
}
