// Package body reads a JSON request body field by field and collects what is
// wrong with it, so that a client is told of all faults at once.
//
// It follows protobuf's JSON mapping, which the stock clients expect: an absent
// field and null are the same, an unknown field is ignored, a field of the
// wrong type is a fault. Names are compared exactly, and the last of two equal
// ones counts.
package body

import (
	"encoding/json"
	"unicode/utf8"

	"containertriggers/shared/fault"
)

// Object is a JSON object of a request. Its methods answer nil for a field that
// is absent, null or of the wrong type; the last is noted as a fault under the
// field's dotted name.
type Object struct {
	prefix string
	fields map[string]json.RawMessage
	faults *fault.Arguments
}

// Parse reads a whole body. One that is not a JSON object in UTF-8 is a fault
// of the argument "body", and the Object that comes with it is empty.
func Parse(data []byte, faults *fault.Arguments) Object {
	object := Object{faults: faults}
	switch {
	case !utf8.Valid(data):
		faults.Add("body", fault.Format, "must be encoded in UTF-8")
	case json.Unmarshal(data, &object.fields) != nil:
		faults.Add("body", fault.Format, "must be a JSON object")
	case object.fields == nil:
		faults.Add("body", fault.Format, "must be a JSON object, not null")
	}
	return object
}

// String reads a string.
func (o Object) String(name string) *string {
	return read[string](o, name, "must be a string")
}

// Strings reads a list of strings.
func (o Object) Strings(name string) *[]string {
	const help = "must be a list of strings"
	elements := read[[]*string](o, name, help)
	if elements == nil {
		return nil
	}
	list := make([]string, len(*elements))
	for i, element := range *elements {
		if element == nil {
			o.faults.Add(o.prefix+name, fault.Format, help)
			return nil
		}
		list[i] = *element
	}
	return &list
}

// StringMap reads an object whose values are strings.
func (o Object) StringMap(name string) *map[string]string {
	const help = "must be an object whose values are strings"
	entries := read[map[string]*string](o, name, help)
	if entries == nil {
		return nil
	}
	strings := make(map[string]string, len(*entries))
	for key, value := range *entries {
		if value == nil {
			o.faults.Add(o.prefix+name, fault.Format, help)
			return nil
		}
		strings[key] = *value
	}
	return &strings
}

// Object reads a nested object; ok is false where there is none.
func (o Object) Object(name string) (nested Object, ok bool) {
	fields := read[map[string]json.RawMessage](o, name, "must be an object")
	if fields == nil {
		return Object{}, false
	}
	return Object{prefix: o.prefix + name + ".", fields: *fields, faults: o.faults}, true
}

// read decodes a field, or answers nil where there is nothing to decode.
func read[T any](o Object, name, help string) *T {
	raw, present := o.fields[name]
	if !present || string(raw) == "null" {
		return nil
	}
	var value T
	if json.Unmarshal(raw, &value) != nil {
		o.faults.Add(o.prefix+name, fault.Format, help)
		return nil
	}
	return &value
}
