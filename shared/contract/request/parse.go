// Package request parses a JSON request body and validates the fields that triggers,
// containers and namespaces have in common. It collects the faults of a request, so that
// one answer names all of them.
//
// Parsing follows protobuf's JSON mapping, which the stock clients expect: a null field
// counts as absent, and an unknown field is ignored unless [Object.Only] is called. A field
// of the wrong type is a fault. Names are case-sensitive, and no object may contain a name
// twice.
package request

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"containertriggers/shared/contract/apierr"
)

// Object is a JSON object of a request. Its methods return nil if a field is absent, null
// or of the wrong type. A wrong type is also a fault under the field's dotted name.
type Object struct {
	prefix string
	fields map[string]json.RawMessage
	faults *apierr.Arguments
}

// Parse parses a body. If it is not a JSON object in UTF-8, Parse returns an empty Object,
// and the only fault is that of the argument "body".
func Parse(data []byte, faults *apierr.Arguments) Object {
	object := Object{faults: faults}
	if problem := malformed(data); problem != "" {
		faults.AddAlone("body", apierr.Format, problem)
	} else if err := json.Unmarshal(data, &object.fields); err != nil {
		faults.AddAlone("body", apierr.Format, "must be a JSON object: "+err.Error())
	}
	return object
}

// Only adds a fault for each field that has none of the names.
func (o Object) Only(names ...string) {
	for _, name := range slices.Sorted(maps.Keys(o.fields)) {
		if !slices.Contains(names, name) {
			o.faults.Add(o.prefix+name, apierr.Unknown, "is unknown; known are "+strings.Join(names, ", "))
		}
	}
}

// String returns a string.
func (o Object) String(name string) *string {
	return read[string](o, name, "must be a string")
}

// Enum returns one of the values. Stock clients send the zero value of an enum ("" or
// "unknown_…") if their user did not set the field, so Enum returns nil for it.
func (o Object) Enum(name string, values ...string) *string {
	given := o.String(name)
	if given == nil || *given == "" || strings.HasPrefix(*given, "unknown_") {
		return nil
	}
	if !slices.Contains(values, *given) {
		o.faults.Add(o.prefix+name, apierr.Constraint, "must be one of "+strings.Join(values, ", "))
		return nil
	}
	return given
}

// Bool returns a Boolean.
func (o Object) Bool(name string) *bool {
	return read[bool](o, name, "must be true or false")
}

// Number returns a whole number from least to most.
func (o Object) Number(name string, least, most uint64) *uint64 {
	given := read[uint64](o, name, "must be a whole number")
	if given != nil && (*given < least || *given > most) {
		o.faults.Add(o.prefix+name, apierr.Constraint, fmt.Sprintf("must be between %d and %d", least, most))
		return nil
	}
	return given
}

// Strings returns a list of strings.
func (o Object) Strings(name string) *[]string {
	const rule = "must be a list of strings"
	elements := read[[]*string](o, name, rule)
	if elements == nil {
		return nil
	}
	list := make([]string, len(*elements))
	for i, element := range *elements {
		if element == nil {
			o.faults.Add(o.prefix+name, apierr.Format, rule)
			return nil
		}
		list[i] = *element
	}
	return &list
}

// StringMap returns an object of string values.
func (o Object) StringMap(name string) *map[string]string {
	const rule = "must be an object with string values"
	entries := read[map[string]*string](o, name, rule)
	if entries == nil {
		return nil
	}
	strings := make(map[string]string, len(*entries))
	for key, value := range *entries {
		if value == nil {
			o.faults.Add(o.prefix+name, apierr.Format, rule)
			return nil
		}
		strings[key] = *value
	}
	return &strings
}

// Object returns a nested object, or false if there is none.
func (o Object) Object(name string) (nested Object, ok bool) {
	fields := read[map[string]json.RawMessage](o, name, "must be an object")
	if fields == nil {
		return Object{}, false
	}
	return Object{prefix: o.prefix + name + ".", fields: *fields, faults: o.faults}, true
}

// read returns the decoded field, or nil if there is none. It adds a fault with the rule
// if the field does not decode.
func read[T any](o Object, name, rule string) *T {
	raw, present := o.fields[name]
	if !present || string(raw) == "null" {
		return nil
	}
	var value T
	if json.Unmarshal(raw, &value) != nil {
		o.faults.Add(o.prefix+name, apierr.Format, rule)
		return nil
	}
	return &value
}
