// Package awscron is what EventBridge Scheduler does with an expression: it
// refuses what AWS refuses, and tells when the rest fires. It shares nothing with
// package cron, whose translations it proves.
package awscron

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/cronexpr"
)

// maxExpression is how long an expression may be (API reference of
// CreateSchedule).
const maxExpression = 256

// Expression is an expression that Scheduler accepts.
type Expression struct {
	zone  *time.Location
	cron  *cronexpr.Expression // nil for the others
	every time.Duration        // of rate(…)
	once  time.Time            // of at(…)
}

// Refusal is what AWS says of an expression that it does not accept.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// Parse reads an expression: cron(…), rate(…) or at(…). An empty time zone is UTC.
func Parse(expression, timezone string) (Expression, error) {
	zone, err := time.LoadLocation(timezone)
	if err != nil || timezone == "Local" {
		return Expression{}, Refusal("Invalid Schedule Expression Timezone " + timezone + ".")
	}
	e := Expression{zone: zone}
	kind, inner, found := strings.Cut(expression, "(")
	inner, closed := strings.CutSuffix(inner, ")")
	ok := found && closed && len(expression) <= maxExpression
	switch {
	case !ok:
	case kind == "cron":
		e.cron, ok = parseCron(inner)
	case kind == "rate":
		e.every, ok = parseRate(inner)
	case kind == "at":
		e.once, err = time.ParseInLocation("2006-01-02T15:04:05", inner, zone)
		ok = err == nil
	default:
		ok = false
	}
	if !ok {
		return Expression{}, Refusal("Invalid Schedule Expression " + expression + ".")
	}
	return e, nil
}

// Periodic says whether the expression is a rate, which counts from its last firing
// instead of going by the clock.
func (e Expression) Periodic() bool { return e.every > 0 }

// elements are the forms of what stands between the commas of each field, for
// cronexpr is more liberal than AWS.
var elements = []*regexp.Regexp{
	regexp.MustCompile(`^(\*|\d+(-\d+)?)(/\d+)?$`),
	regexp.MustCompile(`^(\*|\d+(-\d+)?)(/\d+)?$`),
	regexp.MustCompile(`^(\?|L(-\d+)?|LW|\d+W|(\*|\d+(-\d+)?)(/\d+)?)$`),
	regexp.MustCompile(`^(\*|\w+(-\w+)?)(/\d+)?$`),
	regexp.MustCompile(`^(\?|L|\w+L|\w+#[1-5]|(\*|\w+(-\w+)?)(/\d+)?)$`),
	regexp.MustCompile(`^(\*|\d+(-\d+)?)(/\d+)?$`),
}

// bounds are the numbers that each field knows.
var bounds = [][2]int{{0, 59}, {0, 23}, {1, 31}, {1, 12}, {1, 7}, {1970, 2199}}

var number = regexp.MustCompile(`\d+`)

// parseCron reads minutes, hours, day of month, month, day of week and year, of
// which exactly one day field must be "?".
func parseCron(text string) (*cronexpr.Expression, bool) {
	fields := strings.Fields(text)
	if len(fields) != len(elements) || (fields[2] == "?") == (fields[4] == "?") {
		return nil, false
	}
	for i, field := range fields {
		for element := range strings.SplitSeq(field, ",") {
			if !elements[i].MatchString(element) {
				return nil, false
			}
			span, _, _ := strings.Cut(element, "/")
			span, _, _ = strings.Cut(span, "#")
			for _, digits := range number.FindAllString(strings.TrimPrefix(span, "L-"), -1) {
				if n, err := strconv.Atoi(digits); err != nil || n < bounds[i][0] || n > bounds[i][1] {
					return nil, false
				}
			}
		}
	}
	// cronexpr wants seconds first, and counts Sunday as 0.
	days := strings.Split(fields[4], ",")
	for i, element := range days {
		day, rest := element, ""
		if end := strings.IndexAny(element, "/#"); end >= 0 {
			day, rest = element[:end], element[end:]
		}
		days[i] = number.ReplaceAllStringFunc(day, func(n string) string { return string(n[0] - 1) }) + rest
	}
	fields[4] = strings.Join(days, ",")
	expression, err := cronexpr.Parse("0 " + strings.Join(fields, " "))
	return expression, err == nil
}

// units are the units of rates; one of them goes with the singular.
var units = map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}

func parseRate(text string) (time.Duration, bool) {
	value, unit, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return 0, false
	}
	every, ok := units[strings.TrimSuffix(unit, "s")]
	return time.Duration(n) * every, ok && strings.HasSuffix(unit, "s") != (n == 1)
}

// Next is the first firing strictly after a time; ok is false where there is
// none any more. A rate counts from the time that is given.
//
// Local times that a change of the clock leaves out do not fire, those that come
// twice fire once, the first time (EventBridge Scheduler User Guide, "Daylight
// savings time").
func (e Expression) Next(after time.Time) (next time.Time, ok bool) {
	switch {
	case e.every > 0:
		return after.Add(e.every), true
	case e.cron == nil:
		return e.once, e.once.After(after)
	}
	// What clocks showed earlier, or show now, they first showed then or before:
	// the next firing is at a later local time.
	wall := floating(after.In(e.zone))
	for {
		// In UTC cronexpr knows of no daylight saving time: its times are those of
		// a clock on the wall.
		if wall = e.cron.Next(wall); wall.IsZero() {
			return time.Time{}, false
		}
		if t, exists := e.first(wall); exists && t.After(after) {
			return t, true
		}
	}
}

// floating is what a clock in t's zone shows, as a time in UTC.
func floating(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// first is the first time at which the zone's clocks show what wall says. It
// tries the offsets in force around that time, the larger one first: with it a
// clock shows anything earlier.
func (e Expression) first(wall time.Time) (time.Time, bool) {
	_, before := wall.Add(-26 * time.Hour).In(e.zone).Zone()
	_, behind := wall.Add(26 * time.Hour).In(e.zone).Zone()
	for _, offset := range []int{max(before, behind), min(before, behind)} {
		if t := wall.Add(-time.Duration(offset) * time.Second).In(e.zone); floating(t).Equal(wall) {
			return t, true
		}
	}
	return time.Time{}, false
}
