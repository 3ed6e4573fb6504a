package container_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/alexedwards/argon2id"

	"containertriggers/shared/domain/container"
)

func TestSecretVariables_AreAnsweredAsHashes(t *testing.T) {
	t.Parallel()
	c := seal(t, `{"name":"n","image":"https://e.example","secret_environment_variables":{"S":"hush","EMPTY":"","INVOKE_TOKEN":"quiet"}}`)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Hashes map[string]string `json:"secret_environment_variables"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"S": "hush", "EMPTY": "", "INVOKE_TOKEN": "quiet"} {
		// The Terraform provider compares its configuration with an answer in this way.
		if same, err := argon2id.ComparePasswordAndHash(value, answer.Hashes[name]); !same || err != nil {
			t.Errorf("%s: %q is not the hash, %v", name, answer.Hashes[name], err)
		}
	}
	if len(answer.Hashes) != 3 {
		t.Errorf("got %v", answer.Hashes)
	}
	for _, clear := range []string{"hush", "quiet", "sealed"} {
		if strings.Contains(string(text), clear) {
			t.Errorf("%q is in the answer %s", clear, text)
		}
	}
	if _, secrets, _ := container.Create([]byte(`{"secret_environment_variables":{"S":"hush"},"invoke_token":"hush"}`), id, "fr-par", container.Rules{}, born); strings.Contains(fmt.Sprintf("%v %+v %#v", secrets, secrets, secrets), "hush") {
		t.Error("printing secrets shows them")
	}
}

// TestSecretVariables_AreReplacedAsTheOriginalDoes has the cases of the Terraform
// provider: a new value, "" for one that stays, and a name that is left out.
func TestSecretVariables_AreReplacedAsTheOriginalDoes(t *testing.T) {
	t.Parallel()
	const (
		both     = `{"name":"n","image":"https://e.example","secret_environment_variables":{"S":"hush","INVOKE_TOKEN":"quiet"}}`
		ofField  = `{"name":"n","image":"https://e.example","secret_environment_variables":{"S":"hush"},"invoke_token":"quiet"}`
		hush     = "sealed hush"
		quiet    = "sealed quiet"
		variable = "INVOKE_TOKEN"
	)
	for name, test := range map[string]struct {
		created, update string
		variables       []string
		s, token        string
	}{
		"nothing":                             {both, `{}`, []string{variable, "S"}, hush, quiet},
		"null":                                {both, `{"secret_environment_variables":null,"invoke_token":null}`, []string{variable, "S"}, hush, quiet},
		"both stay":                           {both, `{"secret_environment_variables":{"S":"","INVOKE_TOKEN":""}}`, []string{variable, "S"}, hush, quiet},
		"a new value":                         {both, `{"secret_environment_variables":{"S":"other","INVOKE_TOKEN":""}}`, []string{variable, "S"}, "sealed other", quiet},
		"a new token":                         {both, `{"secret_environment_variables":{"S":"","INVOKE_TOKEN":"other"}}`, []string{variable, "S"}, hush, "sealed other"},
		"without the token":                   {both, `{"secret_environment_variables":{"S":""}}`, []string{"S"}, hush, ""},
		"without S":                           {both, `{"secret_environment_variables":{"INVOKE_TOKEN":""}}`, []string{variable}, "", quiet},
		"none":                                {both, `{"secret_environment_variables":{}}`, nil, "", ""},
		"the field takes the token over":      {both, `{"invoke_token":"other"}`, []string{"S"}, hush, "sealed other"},
		"the field takes the token away":      {both, `{"invoke_token":""}`, []string{"S"}, hush, ""},
		"the field wins":                      {both, `{"invoke_token":"of-field","secret_environment_variables":{"INVOKE_TOKEN":"of-variable"}}`, nil, "", "sealed of-field"},
		"a token of the field, none named":    {ofField, `{"secret_environment_variables":{}}`, nil, "", quiet},
		"a token of the field, another named": {ofField, `{"secret_environment_variables":{"S":"","T":"new"}}`, []string{"S", "T"}, hush, quiet},
		"the variable takes the token over":   {ofField, `{"secret_environment_variables":{"S":"","INVOKE_TOKEN":"other"}}`, []string{variable, "S"}, hush, "sealed other"},
	} {
		before := seal(t, test.created)
		after, secrets, err := before.Update([]byte(test.update), container.Rules{}, born)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if after, err = secrets.Seal(after, sealing); err != nil {
			t.Fatal(err)
		}
		var variables []string
		for variable, v := range after.Variables {
			variables = append(variables, variable)
			if v.Hash == "" {
				t.Errorf("%s: %s has no hash", name, variable)
			}
		}
		slices.Sort(variables)
		if !slices.Equal(variables, test.variables) || string(after.Variables["S"].Sealed) != test.s || string(after.SealedToken) != test.token {
			t.Errorf("%s: got %v, S %q, token %q", name, variables, after.Variables["S"].Sealed, after.SealedToken)
		}
		if len(before.Variables) != strings.Count(test.created, "hush")+strings.Count(test.created, variable) {
			t.Errorf("%s: the container that the update was made of has changed", name)
		}
	}
}
