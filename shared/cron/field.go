package cron

import (
	"fmt"
	"strconv"
	"strings"
)

// field is one of the five: which numbers and names it knows.
type field struct {
	name        string
	first, last int
	names       []string // of the numbers from first on
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

// otherSunday is Sunday's second number, which lets ranges end on it.
const otherSunday = 7

func (f field) all() uint64 { return f.span(f.first, f.last, 1) }

// span is the set of the numbers from first to last in steps. Sunday is 0 in it
// whichever of its numbers was used.
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

func (f field) problem(format string, args ...any) error {
	return &Error{f.name, fmt.Sprintf(format, args...)}
}

// parse reads a list of elements.
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

// parseElement reads "*", "a", "a-b", each with "/step" behind it or not. A
// single number with a step goes on to the field's end.
func (f field) parseElement(element, text string) (uint64, error) {
	if element == "" {
		return 0, f.problem("%q has an empty list element", text)
	}
	span, stepText, stepped := strings.Cut(element, "/")
	step := 1
	if stepped {
		var err error
		if step, err = number(stepText); err != nil || step < 1 {
			return 0, f.problem("%q has the step %q, which must be a number from 1 on", element, stepText)
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
			return 0, f.problem("the range %q is reversed", span)
		}
	case stepped:
		last = max(first, f.last)
	}
	return f.span(first, last, step), nil
}

// value reads a number or a name.
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
			return 0, f.problem("%q is Quartz's notation, not UNIX cron's", element)
		}
		if f.names != nil {
			return 0, f.problem("%q is neither a number nor a name such as %s", text, strings.ToUpper(f.names[1]))
		}
		return 0, f.problem("%q is not a number", text)
	}
	if n < f.first || n > last {
		return 0, f.problem("%d is out of range %d-%d", n, f.first, last)
	}
	return n, nil
}

// number reads digits: no sign, no blank, and no more of them than fit.
func number(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err
}
