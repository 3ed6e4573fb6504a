// Package cron implements UNIX cron as crontab(5) describes it. It parses a schedule,
// computes when it occurs, and translates it to EventBridge Scheduler expressions. The
// expressions with their filters occur at exactly the same minutes as the schedule.
//
// # Days
//
// A day field is restricted if it does not begin with "*". If both fields are restricted,
// the schedule occurs on the days that either field matches. Otherwise it occurs on the
// days that both fields match. "0 0 1-31 * 1" occurs every day, and "0 0 */2 * 1" occurs on
// odd days that are Mondays.
//
// # Time zones
//
// A schedule occurs by local time. If daylight saving time begins or ends, these rules
// apply:
//   - The schedule does not occur at a local time that the change skips.
//   - The schedule occurs once at a local time that repeats: the first time.
//   - A schedule that restricts only the minute ("*/5 * * * *", "@hourly") also occurs in
//     the repeated hour. This rule needs a time zone with an offset of whole hours. In the
//     few other zones with daylight saving time (Newfoundland, Lord Howe, central
//     Australia) the schedule does not occur in the repeated hour.
//
// EventBridge Scheduler follows the first two rules. It uses its own release of the time
// zone database and decides when a schedule fires. [LoadZone] uses the machine's release,
// or the one that Go embeds in the program if the machine has none.
package cron

import (
	"fmt"
	"math/bits"
	"strings"
	_ "time/tzdata" // Lambda has no zoneinfo directory
)

// Schedule is a parsed schedule. Two schedules compare equal if they occur at the same
// minutes of the same days.
type Schedule struct {
	// Bit n is set if the field matches n. Sunday is 0.
	minute, hour, dayOfMonth, month, dayOfWeek uint64
	// either means that one matching day field is enough. It is false if that makes no
	// difference, so that equal schedules compare equal.
	either bool
}

// Error names the problem of a schedule or a time zone, in the user's terms.
type Error struct {
	// Field is "minute", "hour", "day of month", "month", "day of week" or "timezone". It is
	// "schedule" if the problem is the form of the whole schedule.
	Field   string
	Problem string
}

// Error returns the field and the problem.
func (e *Error) Error() string { return e.Field + ": " + e.Problem }

// maxLength limits a schedule, in bytes. A schedule that lists every value has about 400.
const maxLength = 1024

var macros = map[string]string{
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
	"@monthly":  "0 0 1 * *",
	"@weekly":   "0 0 * * 0",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@hourly":   "0 * * * *",
}

// Parse parses a schedule. A schedule has five fields that blanks separate, or is one of
// @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly in any case. It
// returns an *Error for every other text.
func Parse(expression string) (Schedule, error) {
	if len(expression) > maxLength {
		return Schedule{}, &Error{"schedule", fmt.Sprintf("must have at most %d bytes", maxLength)}
	}
	texts := strings.FieldsFunc(expression, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(texts) == 1 && strings.HasPrefix(texts[0], "@") {
		name := strings.ToLower(texts[0])
		if name == "@reboot" {
			return Schedule{}, &Error{"schedule", "@reboot is not supported, because no machine boots; use a time such as @daily"}
		}
		macro, ok := macros[name]
		if !ok {
			return Schedule{}, &Error{"schedule", fmt.Sprintf("must be one of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly, not %q", texts[0])}
		}
		texts = strings.Fields(macro)
	}
	if len(texts) != 5 {
		return Schedule{}, &Error{"schedule", fmt.Sprintf("must have five fields (minute, hour, day of month, month, day of week), not %d", len(texts))}
	}

	var s Schedule
	for i, into := range []*uint64{&s.minute, &s.hour, &s.dayOfMonth, &s.month, &s.dayOfWeek} {
		set, err := fields[i].parse(texts[i])
		if err != nil {
			return Schedule{}, err
		}
		*into = set
	}
	if !strings.HasPrefix(texts[2], "*") && !strings.HasPrefix(texts[4], "*") {
		s.joinDays()
	}
	if !s.either && !s.monthHasDay() {
		return Schedule{}, &Error{"day of month", fmt.Sprintf("%q never comes in the months of %q", texts[2], texts[3])}
	}
	return s, nil
}

// joinDays makes one matching day field enough.
func (s *Schedule) joinDays() {
	switch {
	case s.dayOfMonth == dayOfMonth.all() || s.dayOfWeek == dayOfWeek.all():
		s.dayOfMonth, s.dayOfWeek = dayOfMonth.all(), dayOfWeek.all()
	case !s.monthHasDay():
		s.dayOfMonth = dayOfMonth.all() // only the day of the week can match
	default:
		s.either = true
	}
}

// monthHasDay reports whether the first of the days exists in the longest of the months.
func (s Schedule) monthHasDay() bool {
	longest := 0
	for month, days := range []int{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31} {
		if s.month&(1<<month) != 0 {
			longest = max(longest, days)
		}
	}
	return bits.TrailingZeros64(s.dayOfMonth) <= longest
}
