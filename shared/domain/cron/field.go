package cron

import (
	"fmt"
	"strconv"
	"strings"
)

// field is one of the five fields, with the numbers and names that it accepts.
type field struct {
	name        string
	first, last int
	names       []string // names[i] is the name of first+i
}

var (
	minute     = field{name: "minute", first: 0, last: 59}
	hour       = field{name: "hour", first: 0, last: 23}
	dayOfMonth = field{name: "day of month", first: 1, last: 31}
	month      = field{name: "month", first: 1, last: 12, names: []string{
		"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
	}}
	dayOfWeek = field{name: "day of week", first: 0, last: 6, names: []string{
		"sun", "mon", "tue", "wed", "thu", "fri", "sat",
	}}
	fields = []field{minute, hour, dayOfMonth, month, dayOfWeek}
)

// otherSunday is the second number of Sunday. A range can end on it.
const otherSunday = 7

// all returns the set of all numbers.
func (f field) all() uint64 { return f.span(f.first, f.last, 1) }

// span returns the set of the numbers from first to last in steps. Both numbers of Sunday
// become 0.
func (f field) span(first, last, step int) uint64 {
	var set uint64
	for n := first; n <= last; n += step {
		if f.name == dayOfWeek.name {
			set |= 1 << (n % otherSunday)
		} else {
			set |= 1 << n
		}
	}
	return set
}

// problem returns an *Error of the field.
func (f field) problem(format string, args ...any) error {
	return &Error{f.name, fmt.Sprintf(format, args...)}
}

// parse parses a list of elements and returns the set of their numbers.
func (f field) parse(text string) (uint64, error) {
	var set uint64
	for element := range strings.SplitSeq(text, ",") {
		elements, err := f.parseElement(element, text)
		if err != nil {
			return 0, err
		}
		set |= elements
	}
	return set, nil
}

// parseElement parses one element of the text. An element is "*", "a" or "a-b", and may
// end with "/step". If it is a single number with a step, it goes on to the end of the field.
func (f field) parseElement(element, text string) (uint64, error) {
	if element == "" {
		return 0, f.problem("%q has an empty list element; remove a comma or add a number", text)
	}
	span, stepText, stepped := strings.Cut(element, "/")
	step := 1
	if stepped {
		var err error
		if step, err = number(stepText); err != nil || step < 1 {
			return 0, f.problem("%q has the step %q, but a step must be a number of at least 1", element, stepText)
		}
	}
	if span == "*" {
		return f.span(f.first, f.last, step), nil
	}
	from, to, ranged := strings.Cut(span, "-")
	first, err := f.value(from, element)
	if err != nil {
		return 0, err
	}
	last := first
	switch {
	case ranged:
		if last, err = f.value(to, element); err != nil {
			return 0, err
		}
		if strings.EqualFold(to, dayOfWeek.names[0]) && first > 0 {
			last = otherSunday // FRI-SUN
		}
		if last < first {
			return 0, f.problem("the range %q is reversed; begin with the smaller value", span)
		}
	case stepped:
		last = max(first, f.last)
	}
	return f.span(first, last, step), nil
}

// value parses a number or a name.
func (f field) value(text, element string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.first + i, nil
		}
	}
	last := f.last
	if f.name == dayOfWeek.name {
		last = otherSunday
	}
	n, err := number(text)
	if err != nil {
		if strings.ContainsAny(element, "?LW#") {
			return 0, f.problem("%q is Quartz notation; use UNIX cron, such as * or 1-5", element)
		}
		if f.names != nil {
			return 0, f.problem("must be a number or a name such as %s, not %q", strings.ToUpper(f.names[1]), text)
		}
		return 0, f.problem("must be a number, not %q", text)
	}
	if n < f.first || n > last {
		return 0, f.problem("must be from %d to %d, not %d", f.first, last, n)
	}
	return n, nil
}

// number parses digits. It returns an error for a sign, a blank or a number above 65,535.
func number(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err
}
