package invoke

import (
	"net/http"
	"net/textproto"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"
	"pgregory.net/rapid"
)

func TestHeaders_ArriveInAFormThatHTTPCarries(t *testing.T) {
	t.Parallel()
	endpoint, requests := record(t)
	caller := New(Settings{AllowPrivate: true})
	for what, test := range map[string]struct {
		given http.Header
		name  string // as it arrives
		want  []string
	}{
		"plain":                         {http.Header{"Tag": {"a b;c=\"d\" 100%\te"}}, "Tag", []string{"a b;c=\"d\" 100%\te"}},
		"empty":                         {http.Header{"Tag": {""}}, "Tag", []string{""}},
		"a line break":                  {http.Header{"Tag": {"a\nb"}}, "Tag", []string{"UTF-8''a%0Ab"}},
		"a carriage return":             {http.Header{"Tag": {"a\r\nX-Evil: 1"}}, "Tag", []string{"UTF-8''a%0D%0AX-Evil%3A%201"}},
		"a control character":           {http.Header{"Tag": {"\x00\x1f\x7f"}}, "Tag", []string{"UTF-8''%00%1F%7F"}},
		"beyond ASCII":                  {http.Header{"Tag": {"caf\u00e9 \u20ac"}}, "Tag", []string{"caf\u00e9 \u20ac"}},
		"not UTF-8":                     {http.Header{"Tag": {"\xff"}}, "Tag", []string{"UTF-8''%FF"}},
		"a percent sign beside it":      {http.Header{"Tag": {"100%\n'*"}}, "Tag", []string{"UTF-8''100%25%0A%27%2A"}},
		"white space at its ends":       {http.Header{"Tag": {" a", "a\t"}}, "Tag", []string{"UTF-8''%20a", "UTF-8''a%09"}},
		"what looks encoded":            {http.Header{"Tag": {"utf-8''a"}}, "Tag", []string{"UTF-8''utf-8%27%27a"}},
		"names of another case":         {http.Header{"TAG": {"1"}, "Tag": {"2", "3"}, "tag": {"4"}}, "Tag", []string{"1", "2", "3", "4"}},
		"a name with a space":           {http.Header{"My Tag": {"1"}}, "X-Remapped-My%20tag", []string{"1"}},
		"a name with separators":        {http.Header{"(a/b:c)": {"1"}}, "X-Remapped-%28a%2fb%3ac%29", []string{"1"}},
		"a name with a line break":      {http.Header{"a\r\nb": {"1"}}, "X-Remapped-A%0d%0ab", []string{"1"}},
		"a name beyond ASCII":           {http.Header{"\u00e9": {"1"}}, "X-Remapped-%c3%a9", []string{"1"}},
		"no name":                       {http.Header{"": {"1"}}, "X-Remapped-", []string{"1"}},
		"a percent sign in a bad name":  {http.Header{"%20 ": {"1"}}, "X-Remapped-%2520%20", []string{"1"}},
		"a name that is only unusual":   {http.Header{"a_b.c!#$%&'*+^`|~": {"1"}}, "A_b.c!#$%&'*+^`|~", []string{"1"}},
		"a name that looks remapped":    {http.Header{"x-remapped-host": {"1"}}, "X-Remapped-X-Remapped-Host", []string{"1"}},
		"a name of the connection":      {http.Header{"content-length": {"9"}}, "X-Remapped-Content-Length", []string{"9"}},
		"a name that asks the server":   {http.Header{"expect": {"rain"}}, "X-Remapped-Expect", []string{"rain"}},
		"what Connection names":         {http.Header{"connection": {"tag"}, "tag": {"1"}}, "X-Remapped-Tag", []string{"1"}},
		"a name of the service":         {http.Header{"ce-id": {"1"}, "CE-ID": {"2"}}, "X-Remapped-Ce-Id", []string{"2", "1"}},
		"a subject without one of ours": {http.Header{"ce-subject": {"1"}}, "X-Remapped-Ce-Subject", []string{"1"}},
		"an extension of CloudEvents":   {http.Header{"ce-mine": {"1"}}, "Ce-Mine", []string{"1"}},
		"a token where none is sent":    {http.Header{"x-auth-token": {"1"}}, "X-Auth-Token", []string{"1"}},
		"a trace where none is on":      {http.Header{"traceparent": {"1"}}, "Traceparent", []string{"1"}},
	} {
		tr, to, event := sample(endpoint)
		event.Header = test.given
		if err := caller.Call(t.Context(), NewRoute(tr, to, ""), event); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		got := (<-requests).Header
		if !slices.Equal(got[test.name], test.want) || got.Get("X-Evil") != "" || got.Get("Ce-Id") != "id" {
			t.Errorf("%s: got %q in %q", what, got[test.name], got)
		}
	}
}

func TestCarried_CanBeReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.StringMatching(`(?i)(utf-8'')?[ -~]*\s?`)).Draw(t, "value")
		sent := encodeValue(value)
		if !httpguts.ValidHeaderFieldValue(sent) || textproto.TrimString(sent) != sent {
			t.Fatalf("%q is sent as %q, which HTTP does not carry", value, sent)
		}
		read := sent
		if encoded, found := strings.CutPrefix(sent, "UTF-8''"); found {
			var err error
			if read, err = url.PathUnescape(encoded); err != nil {
				t.Fatal(err)
			}
		}
		if read != value {
			t.Fatalf("%q is sent as %q, and read as %q", value, sent, read)
		}
	})
}

func TestHeaders_OfOneEventDoNotReachTheNext(t *testing.T) {
	t.Parallel()
	endpoint, requests := record(t)
	caller := New(Settings{AllowPrivate: true})
	tr, to, event := sample(endpoint)
	route := NewRoute(tr, to, "")
	send := func(event Event) http.Header {
		t.Helper()
		if err := caller.Call(t.Context(), route, event); err != nil {
			t.Fatal(err)
		}
		return (<-requests).Header
	}
	plain := event
	plain.Subject, plain.Header, plain.Body = "", nil, nil
	want := send(plain)
	event.Subject, event.Header = "subject", http.Header{"Tag": {"1"}, "User-Agent": {"other"}}
	if got := send(event); got.Get("Tag") != "1" || got.Get("Ce-Subject") != "subject" {
		t.Errorf("got %v", got)
	}
	if got := send(plain); !reflect.DeepEqual(got, want) {
		t.Errorf("after an event with headers of its own: got %v, want %v", got, want)
	}
}
