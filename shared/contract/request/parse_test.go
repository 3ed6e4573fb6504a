package request_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
)

// parse returns the faults of a body.
func parse(t *testing.T, data string) []apierr.Argument {
	t.Helper()
	var faults apierr.Arguments
	faults.Add("earlier", apierr.Constraint, "must go")
	object := request.Parse([]byte(data), &faults)
	object.String("name")
	faults.Require("later")
	return apierr.From(faults.Err()).Details.([]apierr.Argument)
}

func TestParse_NamesTheByteThatBreaksTheBody(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		"":                         "must be a JSON object: unexpected end of JSON input at byte 0",
		" \n":                      "must be a JSON object: unexpected end of JSON input at byte 2",
		`{"a":`:                    "must be a JSON object: unexpected end of JSON input at byte 5",
		`{"name":}`:                "must be a JSON object: invalid character '}' looking for beginning of value at byte 9",
		`{"name":1,}`:              "must be a JSON object: invalid character '}' looking for beginning of object key string at byte 11",
		`{'name':1}`:               `must be a JSON object: invalid character '\'' looking for beginning of object key string at byte 2`,
		`{"é":tru}`:                "must be a JSON object: invalid character '}' in literal true (expecting 'e') at byte 10",
		`{"name":1}{}`:             "must be a JSON object: invalid character '{' after top-level value at byte 11",
		`{} x`:                     "must be a JSON object: invalid character 'x' after top-level value at byte 4",
		"null":                     "must be a JSON object, but another value begins at byte 1",
		" [1]":                     "must be a JSON object, but another value begins at byte 2",
		`"x"`:                      "must be a JSON object, but another value begins at byte 1",
		"\xef\xbb\xbf{}":           "must not have a byte order mark, but has one at byte 1",
		"\xff\xfe{\x00}\x00":       "must be encoded in UTF-8, but is UTF-16 from byte 1",
		"\xfe\xff\x00{\x00}":       "must be encoded in UTF-8, but is UTF-16 from byte 1",
		"\x1f\x8b\x08\x00\x00":     "must not be compressed, but is gzip from byte 1",
		"{\"name\":\"\xff\"}":      "must be encoded in UTF-8, but has another encoding at byte 10",
		"{\"n\":\"\xed\xa0\x80\"}": "must be encoded in UTF-8, but has another encoding at byte 7",
		`{"name":"a","name":"b"}`:  `must not have the name "name" twice in one object, but repeats it at byte 13`,
		`{"a":1, "\u0061" : 2}`:    `must not have the name "a" twice in one object, but repeats it at byte 9`,
		`{"x":{"b":[{"c":1e999,"d":{},"c":null}]}}`: `must not have the name "c" twice in one object, but repeats it at byte 30`,
		`{"":0,"":0}`: `must not have the name "" twice in one object, but repeats it at byte 7`,
	} {
		got := parse(t, data)
		if len(got) != 1 || got[0].Name != "body" || got[0].Reason != apierr.Format || got[0].Help != "body "+want {
			t.Errorf("%q: got %+v\nwant %s", data, got, want)
		}
	}
	deep := parse(t, strings.Repeat("[", 100_000))
	if len(deep) != 1 || deep[0].Name != "body" {
		t.Errorf("deep lists: got %+v", deep)
	}
}

func TestParse_AcceptsTheSameNameInSeveralObjects(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		`{"a":{"a":1},"b":[{"a":1},{"a":2}],"A":0}`, " \t\r\n{}\n", `{"n":123456789012345678901234567890,"s":"{\"n\":1}"}`,
	} {
		if got := parse(t, data); len(got) != 2 || got[0].Name != "earlier" || got[1].Name != "later" {
			t.Errorf("%s: got %+v", data, got)
		}
	}
}

// told returns the name and the reason of each fault, in order.
func told(faults *apierr.Arguments) string {
	arguments, _ := apierr.From(faults.Err()).Details.([]apierr.Argument)
	var names []string
	for _, a := range arguments {
		names = append(names, a.Name+" "+string(a.Reason))
	}
	return strings.Join(names, ", ")
}

func TestObject_ReadsFieldsByTheirType(t *testing.T) {
	t.Parallel()
	type values struct {
		String *string
		List   *[]string
		Map    *map[string]string
		Nested *string
	}
	read := func(text string) (v values, faults apierr.Arguments) {
		o := request.Parse([]byte(text), &faults)
		v.String, v.List, v.Map = o.String("s"), o.Strings("l"), o.StringMap("m")
		if nested, ok := o.Object("o"); ok {
			v.Nested = nested.String("s")
		}
		return v, faults
	}
	text, list, entries := "x", []string{"a", ""}, map[string]string{"k": "v"}
	for in, test := range map[string]struct {
		want   values
		faults string
	}{
		`{}`:                                        {},
		`{"s":null,"l":null,"m":null,"o":null}`:     {},
		`{"S":"x","unknown":1}`:                     {},
		`{"s":"x"}`:                                 {want: values{String: &text}},
		`{"l":["a",""],"m":{"k":"v"}}`:              {want: values{List: &list, Map: &entries}},
		`{"l":[],"m":{}}`:                           {want: values{List: &[]string{}, Map: &map[string]string{}}},
		`{"o":{"s":"x"}}`:                           {want: values{Nested: &text}},
		`{"o":{}}`:                                  {},
		`{"s":1,"l":"a","m":[],"o":"x"}`:            {faults: "s format, l format, m format, o format"},
		`{"l":[1],"m":{"k":1},"o":{"s":{}}}`:        {faults: "l format, m format, o.s format"},
		`{"l":["a",null],"m":{"k":"v","n":null}}`:   {faults: "l format, m format"},
		`{"s":true,"l":{"a":"b"},"m":"x","o":[{}]}`: {faults: "s format, l format, m format, o format"},
	} {
		got, faults := read(in)
		if !reflect.DeepEqual(got, test.want) || told(&faults) != test.faults {
			t.Errorf("%s: got %+v, faults %s", in, got, told(&faults))
		}
	}
}

// FuzzParse checks that Parse refuses a body if and only if it is not a JSON object.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"{}", `{"a":{"b":[1,{"c":"d"}]},"a":0}`, "\xef\xbb\xbf{}", "[", "{\"\xff\":1}", `{"a":1e999}{`, `{"\ud800":1,"\ud801":2}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		var faults apierr.Arguments
		request.Parse([]byte(data), &faults)
		err := faults.Err()
		var object map[string]json.RawMessage
		isObject := utf8.ValidString(data) && json.Unmarshal([]byte(data), &object) == nil && object != nil
		switch {
		case err == nil && !isObject:
			t.Fatalf("%q is taken", data)
		case err != nil && isObject:
			if got := apierr.From(err).Details.([]apierr.Argument)[0].Help; !strings.Contains(got, "twice") {
				t.Fatalf("%q: got %s", data, got)
			}
		}
	})
}

// FuzzObject checks that a value without a fault is the one that encoding/json reads.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{"s":"x","l":["a"],"m":{"k":"v"},"o":{"s":"y"}}`, `{"s":null}`, `[`, "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var faults apierr.Arguments
		o := request.Parse(data, &faults)
		s := o.String("s")
		o.Strings("l")
		o.StringMap("m")
		if nested, ok := o.Object("o"); ok {
			nested.String("s")
		}
		// Without a fault, the value is the one that encoding/json decodes.
		var want map[string]any
		if err := json.Unmarshal(data, &want); err == nil && faults.Err() == nil {
			text, ok := want["s"].(string)
			if ok != (s != nil) || ok && text != *s {
				t.Errorf("%q: got %v, want %v", data, s, want["s"])
			}
		} else if err != nil && faults.Err() == nil {
			t.Errorf("%q has no fault", data)
		}
	})
}
