package environment_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/alexedwards/argon2id"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/contract/secret"
	"containertriggers/shared/domain/environment"
)

// seal seals values so that a test can read them.
func seal(_ string, value secret.Text) ([]byte, error) { return []byte("sealed " + value), nil }

// set returns the variables after a client set the field to text.
func set(t *testing.T, old map[string]environment.Variable, text string) (variables map[string]environment.Variable, given map[string]secret.Text) {
	t.Helper()
	var faults apierr.Arguments
	kept, given := environment.ReadSecrets(request.Parse([]byte(`{"e":`+text+`}`), &faults), "e", old, &faults)
	variables, err := environment.Seal(kept, given, seal)
	if err = errors.Join(faults.Err(), err); err != nil {
		t.Fatal(err)
	}
	return variables, given
}

func TestSeal_HashesMatchTheConfigurationOfTerraform(t *testing.T) {
	t.Parallel()
	variables, given := set(t, nil, `{"PASSWORD":"correct horse","SAME":"correct horse"}`)
	hashes := environment.Hashes(variables)
	for text, want := range map[string]bool{"correct horse": true, "Correct horse": false} {
		if got, err := argon2id.ComparePasswordAndHash(text, hashes["PASSWORD"]); err != nil || got != want {
			t.Errorf("%s with %s: got %t, %v", text, hashes["PASSWORD"], got, err)
		}
	}
	if hashes["PASSWORD"] == hashes["SAME"] {
		t.Error("two hashes have the same salt")
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", given, given, given), "horse") {
		t.Error("printing secrets shows them")
	}
	refused := errors.New("refused")
	if _, err := environment.Seal(variables, given, func(string, secret.Text) ([]byte, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
}

func TestReadSecrets_ReplacesAllButTheSecretsUnknownToTheClient(t *testing.T) {
	t.Parallel()
	old, _ := set(t, nil, `{"A":"a","B":"b"}`)
	for name, test := range map[string]struct {
		text string
		want string // the names, with a "*" if the value is new
	}{
		"as Terraform sends": {`{"A":"","B":""}`, "A B"},
		"the hash":           {fmt.Sprintf(`{"A":%q,"B":""}`, old["A"].Hash), "A B"},
		"a value":            {`{"A":"","B":"other"}`, "A B*"},
		"a removal":          {`{"A":""}`, "A"},
		"an addition":        {`{"A":"","B":"","C":"c","D":""}`, "A B C* D*"},
		"none":               {`{}`, ""},
	} {
		got, given := set(t, old, test.text)
		names := slices.Sorted(maps.Keys(got))
		for i, variable := range names {
			if string(got[variable].Sealed) != string(old[variable].Sealed) || got[variable].Hash != old[variable].Hash {
				if string(got[variable].Sealed) != "sealed "+string(given[variable]) {
					t.Errorf("%s: %s is %q", name, variable, got[variable].Sealed)
				}
				names[i] += "*"
			}
		}
		if strings.Join(names, " ") != test.want {
			t.Errorf("%s: got %v, want %s", name, names, test.want)
		}
	}
	if len(old) != 2 {
		t.Errorf("the old ones were changed: %v", old)
	}
	var faults apierr.Arguments
	for _, text := range []string{`{}`, `{"e":null}`} {
		if kept, given := environment.ReadSecrets(request.Parse([]byte(text), &faults), "e", old, &faults); kept != nil || given != nil {
			t.Errorf("%s: got %v, %v", text, kept, given)
		}
	}
}

func TestReadSecrets_FaultsNameTheVariableButNotItsValue(t *testing.T) {
	t.Parallel()
	many := make([]string, 51)
	for i := range many {
		many[i] = fmt.Sprintf(`"V%d":""`, i)
	}
	value := strings.Repeat("x", 2048)
	for text, want := range map[string]string{
		`{"e":{"A":"` + value + `y"}}`:                               "e.A must have at most 2048 bytes",
		`{"e":{"":"x"}}`:                                             "e must have names of 1 to 256 bytes",
		`{"e":{"` + strings.Repeat("n", 257) + `":""}}`:              "e must have names of 1 to 256 bytes",
		`{"e":{` + strings.Join(many, ",") + `}}`:                    "e must have at most 50 variables",
		`{"e":{"` + strings.Repeat("n", 256) + `":"` + value + `"}}`: "",
		`{"e":["hush"]}`:                                             "e must be an object with string values",
		`{"e":{"A":1}}`:                                              "e must be an object with string values",
	} {
		var faults apierr.Arguments
		environment.ReadSecrets(request.Parse([]byte(text), &faults), "e", nil, &faults)
		got := ""
		if err := faults.Err(); err != nil {
			for _, detail := range apierr.From(err).Details.([]apierr.Argument) {
				got += detail.Help
			}
		}
		if got != want {
			t.Errorf("%.60s: got %q, want %q", text, got, want)
		}
	}
	var faults apierr.Arguments
	environment.Read(request.Parse([]byte(`{"e":{"A":"`+strings.Repeat("x", 64<<10)+`"}}`), &faults), "e", &faults)
	if faults.Err() == nil {
		t.Error("more than 64 KiB: no fault")
	}
}
