// Package cron is UNIX cron as crontab(5) describes it: it reads a schedule,
// tells when it occurs, and translates it to EventBridge Scheduler expressions
// that occur at exactly the same minutes.
//
// # Days
//
// Where both day fields are restricted, a day occurs that either of them
// matches. A day field is unrestricted when it matches every day, however it is
// written: "*", "1-31", "*/1".
//
// # Time zones
//
// A schedule is read on the clock on the wall. On a night that daylight saving
// time begins or ends this means:
//   - A local time that the change leaves out does not occur.
//   - A local time that comes twice occurs once, the first time.
//   - A schedule without any restriction but on the minute ("*/5 * * * *",
//     "@hourly") goes on through the repeated hour, for nobody wants it to pause.
//     This holds in time zones whose offset is a whole number of hours; in the few
//     others that have daylight saving time (Newfoundland, Lord Howe, central
//     Australia) it pauses while local times repeat.
//
// The first two are what EventBridge Scheduler does. Time zones come from the
// database that is embedded in the program.
package cron

import (
	"fmt"
	"math/bits"
	"strings"
	_ "time/tzdata" // functions run where there is no zoneinfo directory
)

// Schedule is a schedule that has been read. Two of them are equal when they
// occur at the same minutes of the same days.
type Schedule struct {
	// Bit n is set where the field matches n. Sunday is 0.
	minute, hour, dayOfMonth, month, dayOfWeek uint64
}

// Error says what is wrong with a schedule or a time zone, in the user's terms.
type Error struct {
	// Field is "minute", "hour", "day of month", "month", "day of week",
	// "schedule" (its form as a whole) or "timezone".
	Field   string
	Problem string
}

func (e *Error) Error() string { return e.Field + ": " + e.Problem }

// maxLength bounds a schedule, in bytes; an exhaustive one has about 400.
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

// Parse reads a schedule: five fields separated by blanks, or one of @yearly
// @annually @monthly @weekly @daily @midnight @hourly in any case. The error is
// an *Error.
func Parse(expression string) (Schedule, error) {
	if len(expression) > maxLength {
		return Schedule{}, &Error{"schedule", fmt.Sprintf("must have at most %d bytes", maxLength)}
	}
	texts := strings.FieldsFunc(expression, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(texts) == 1 && strings.HasPrefix(texts[0], "@") {
		name := strings.ToLower(texts[0])
		if name == "@reboot" {
			return Schedule{}, &Error{"schedule", "@reboot is not supported: there is nothing that boots"}
		}
		macro, ok := macros[name]
		if !ok {
			return Schedule{}, &Error{"schedule", fmt.Sprintf("%q is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly", texts[0])}
		}
		texts = strings.Fields(macro)
	}
	if len(texts) != 5 {
		return Schedule{}, &Error{"schedule", fmt.Sprintf("needs five fields (minute, hour, day of month, month, day of week), got %d", len(texts))}
	}

	var s Schedule
	for i, into := range []*uint64{&s.minute, &s.hour, &s.dayOfMonth, &s.month, &s.dayOfWeek} {
		set, err := fields[i].parse(texts[i])
		if err != nil {
			return Schedule{}, err
		}
		*into = set
	}
	if s.dayOfWeek == dayOfWeek.all() && !s.monthHasDay() {
		return Schedule{}, &Error{"day of month", fmt.Sprintf("%q never comes in the months of %q", texts[2], texts[3])}
	}
	return s, nil
}

// monthHasDay says whether any of the months has any of the days.
func (s Schedule) monthHasDay() bool {
	longest := 0
	for month, days := range []int{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31} {
		if s.month&(1<<month) != 0 {
			longest = max(longest, days)
		}
	}
	return bits.TrailingZeros64(s.dayOfMonth) <= longest
}

// restrictedDays tells which of the day fields do not match every day.
func (s Schedule) restrictedDays() (ofMonth, ofWeek bool) {
	return s.dayOfMonth != dayOfMonth.all(), s.dayOfWeek != dayOfWeek.all()
}
