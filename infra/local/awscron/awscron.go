// Package awscron reads expressions like EventBridge Scheduler. It refuses the expressions
// that AWS refuses, and returns when the others fire. It shares no code with package cron,
// because it proves that package's translations.
package awscron

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/cronexpr"
)

// maxExpression is the maximum length of an expression (API reference of CreateSchedule).
const maxExpression = 256

// noTimezone matches names by which a machine can open a zone file, but which are no names of
// the IANA database, to which the User Guide refers under "Schedule types".
var noTimezone = regexp.MustCompile(`^(Local|Factory|localtime|posixrules|(posix|right|SystemV)/.*)$`)

// Expression is an expression that Scheduler accepts.
type Expression struct {
	zone  *time.Location
	cron  *cronexpr.Expression // nil for the others
	every time.Duration        // of rate(…)
	once  time.Time            // of at(…)
}

// Refusal is AWS's message about an expression that it does not accept.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// Parse returns an expression: cron(…), rate(…) or at(…). An empty time zone is UTC. It
// returns a [Refusal] if AWS does not accept the expression.
func Parse(expression, timezone string) (Expression, error) {
	zone, err := time.LoadLocation(timezone)
	if err != nil || noTimezone.MatchString(timezone) {
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

// Periodic reports whether the expression is a rate. A rate counts from its last firing
// instead of following the clock.
func (e Expression) Periodic() bool { return e.every > 0 }

// elements matches an element of the list in each field. cronexpr accepts more than AWS.
var elements = []*regexp.Regexp{
	regexp.MustCompile(`^(\*|\d+(-\d+)?)(/\d+)?$`),
	regexp.MustCompile(`^(\*|\d+(-\d+)?)(/\d+)?$`),
	regexp.MustCompile(`^(\?|L(-\d+)?|LW|\d+W|(\*|\d+(-\d+)?)(/\d+)?)$`),
	regexp.MustCompile(`^(\*|\w+(-\w+)?)(/\d+)?$`),
	regexp.MustCompile(`^(\?|L|\w+L|\w+#[1-5]|(\*|\w+(-\w+)?)(/\d+)?)$`),
	regexp.MustCompile(`^(\*|\d+(-\d+)?)(/\d+)?$`),
}

// bounds holds the least and the greatest number of each field.
var bounds = [][2]int{{0, 59}, {0, 23}, {1, 31}, {1, 12}, {1, 7}, {1970, 2199}}

var number = regexp.MustCompile(`\d+`)

// parseCron returns an expression of minutes, hours, day of month, month, day of week and
// year. It returns false unless exactly one day field is "?".
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
	// cronexpr expects seconds first, and counts Sunday as 0.
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

// units holds the units of rates in the singular.
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

// Next returns the first firing strictly after a time. ok is false if there is none. A rate
// counts from the given time.
//
// A local time that does not exist because the clock changes does not fire. A local time
// that comes twice fires once, the first time (EventBridge Scheduler User Guide, "Daylight
// savings time").
func (e Expression) Next(after time.Time) (next time.Time, ok bool) {
	switch {
	case e.every > 0:
		return after.Add(e.every), true
	case e.cron == nil:
		return e.once, e.once.After(after)
	}
	// The next firing is at a later local time: a local time that clocks show now, or
	// showed earlier, came for the first time now or earlier.
	wall := floating(after.In(e.zone))
	for {
		// In UTC there is no daylight saving time, so cronexpr returns local times.
		if wall = e.cron.Next(wall); wall.IsZero() {
			return time.Time{}, false
		}
		if t, exists := e.first(wall); exists && t.After(after) {
			return t, true
		}
	}
}

// floating returns the local time of t as a time in UTC.
func floating(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// first returns the first time at which the zone's clocks show the local time wall. It
// returns false if they never do. It tries the offsets in force around that time, the
// larger one first, because it gives the earlier time.
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
