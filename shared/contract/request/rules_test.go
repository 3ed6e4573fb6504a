package request_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
)

// reason returns the reason of the one fault that a rule adds, or "" if it adds none.
func reason(t *testing.T, rule func(*apierr.Arguments)) apierr.Reason {
	t.Helper()
	var faults apierr.Arguments
	rule(&faults)
	if faults.Err() == nil {
		return ""
	}
	arguments := apierr.From(faults.Err()).Details.([]apierr.Argument)
	if len(arguments) != 1 || arguments[0].Name != "a" || arguments[0].Help == "" {
		t.Errorf("got %+v", arguments)
	}
	return arguments[0].Reason
}

func TestRules_AcceptAndRefuse(t *testing.T) {
	t.Parallel()
	texts := func(rule func(*apierr.Arguments, string, string) string) func(string) apierr.Reason {
		return func(value string) apierr.Reason {
			return reason(t, func(faults *apierr.Arguments) {
				if got := rule(faults, "a", value); got != value {
					t.Errorf("%q is stored as %q", value, got)
				}
			})
		}
	}
	short := func(f *apierr.Arguments, a, v string) string { return request.Text(f, a, v, 8) }
	address := func(f *apierr.Arguments, a, v string) string { return request.URL(f, a, v, "https", "nats") }
	for name, test := range map[string]struct {
		rule  func(string) apierr.Reason
		cases map[string]apierr.Reason
	}{
		"Name": {texts(request.Name), map[string]apierr.Reason{
			"n": "", "é ü": "", strings.Repeat("é", 128): "", "": apierr.Constraint, strings.Repeat("é", 129): apierr.Constraint,
			"a\nb": apierr.Constraint, "a\x00": apierr.Constraint, "\u0085": apierr.Constraint,
		}},
		"Description": {texts(request.Description), map[string]apierr.Reason{
			"": "", "a\nb": "", strings.Repeat("é", 1024): "", strings.Repeat("é", 1025): apierr.Constraint,
		}},
		"Text": {texts(short), map[string]apierr.Reason{
			"key": "", "12345678": "", "": apierr.Constraint, "123456789": apierr.Constraint, "éééée": apierr.Constraint,
			"a b": apierr.Format, "a\tb": apierr.Format, "a\u00a0b": apierr.Format, "a\x7f": apierr.Format,
		}},
		"URL": {texts(address), map[string]apierr.Reason{
			"https://e": "", "nats://e:4222": "", "https://e/p?q=1": "", "https://[::1]:8443": "",
			"": apierr.Constraint, "e": apierr.Format, "http://e": apierr.Format, "HTTPS": apierr.Format, "https://": apierr.Format, "https:///p": apierr.Format,
			"https://:80": apierr.Format, "https://e/%zz": apierr.Format, "https://e f": apierr.Format, "//e": apierr.Format,
			"https://u@e": apierr.Constraint, "https://u:p@e": apierr.Constraint, "https://e#f": apierr.Constraint,
			"https://" + strings.Repeat("e", 2040): "", "https://" + strings.Repeat("e", 2041): apierr.Constraint,
		}},
	} {
		for value, want := range test.cases {
			if got := test.rule(value); got != want {
				t.Errorf("%s of %.40q: got %q, want %q", name, value, got, want)
			}
		}
	}
}

func TestRequired_RefusesAMissingValue(t *testing.T) {
	t.Parallel()
	empty, set := "", "x"
	for want, values := range map[apierr.Reason][]*string{apierr.Required: {nil, &empty}, "": {&set}} {
		for _, value := range values {
			if got := reason(t, func(f *apierr.Arguments) { request.Required(f, "a", value) }); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
}

func TestTags_LimitsNumberAndLength(t *testing.T) {
	t.Parallel()
	many := func(n int) []string { return make([]string, n) }
	for _, test := range []struct {
		tags []string
		want apierr.Reason
	}{
		{nil, ""}, {many(100), ""}, {[]string{strings.Repeat("é", 256)}, ""},
		{many(101), apierr.Constraint}, {[]string{"a", strings.Repeat("é", 257)}, apierr.Constraint},
	} {
		if got := reason(t, func(f *apierr.Arguments) { request.Tags(f, "a", test.tags) }); got != test.want {
			t.Errorf("%d tags: got %q", len(test.tags), got)
		}
	}
}

func TestCanonicalUUID_TakesOneFormInAnyCase(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")).String()
		for _, form := range []string{id, strings.ToUpper(id)} {
			if got, ok := request.CanonicalUUID(form); !ok || got != id {
				t.Fatalf("%s: got %q, %t", form, got, ok)
			}
		}
		for _, form := range []string{"{" + id + "}", "urn:uuid:" + id, strings.ReplaceAll(id, "-", ""), id + " ", id[1:], " " + id[1:]} {
			if got, ok := request.CanonicalUUID(form); ok || got != "" {
				t.Fatalf("%q is taken as %q", form, got)
			}
		}
		at := rapid.IntRange(0, 35).Draw(t, "at")
		broken := id[:at] + "g" + id[at+1:]
		if _, ok := request.CanonicalUUID(broken); ok {
			t.Fatalf("%q is taken", broken)
		}
	})
	if got := reason(t, func(f *apierr.Arguments) { request.UUID(f, "a", "x") }); got != apierr.Format {
		t.Errorf("got %q", got)
	}
}

func TestRegion_HasTheFormOfTheAPIs(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"fr-par": true, "nl-ams": true, "pl-waw": true, "it-milan": true, "": false, "fr": false, "fr-": false, "-par": false, "FR-PAR": false,
		"eu-west-3": false, "fra-par": false, "fr-pa": false, "fr-parisiens": false, "fr-par ": false, "fr-pär": false, "us-east-1": false,
	} {
		if got := request.Region(name); got != want {
			t.Errorf("%q: got %t", name, got)
		}
	}
}

func TestURL_RefusesPortsThatTCPDoesNotHave(t *testing.T) {
	t.Parallel()
	const port, scheme = "must have a port from 1 to 65535, or none", "must be a URL that begins with https:// or nats://"
	for address, want := range map[string]string{
		"https://h":                      "",
		"https://h:1/p?q":                "",
		"https://h:443":                  "",
		"https://h:65535":                "",
		"https://[::1]":                  "",
		"https://[::1]:8443":             "",
		"nats://h:4222":                  "",
		"https://h:0":                    port,
		"https://h:00":                   port,
		"https://h:65536":                port,
		"https://h:99999/p":              port,
		"https://h:18446744073709551617": port,
		"https://h:":                     port,
		"https://h:/p":                   port,
		"https://[::1]:":                 port,
		"https://[::1]:65536":            port,
		"https://h:https":                port,
		"https://h:-1":                   port,
		"https://h:4.3":                  port,
		"https://h:1:2":                  port,
		"https://:443":                   scheme,
		"https://":                       scheme,
		"h:443":                          scheme,
		"ftp://h:443":                    scheme,
	} {
		var faults apierr.Arguments
		request.URL(&faults, "url", address, "https", "nats")
		got := ""
		if told, ok := errors.AsType[*apierr.Error](faults.Err()); ok {
			got = told.Details.([]apierr.Argument)[0].Help
		}
		if want != "" {
			want = "url " + want
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
}
