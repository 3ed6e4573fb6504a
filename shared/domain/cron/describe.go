package cron

import (
	"fmt"
	"math/bits"
	"strings"
)

// maxTimes is the number of times of day up to which Describe lists them.
const maxTimes = 6

var (
	monthNames = []string{
		"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
	}
	// weekdays begins with Monday, as most calendars do, so that FRI-SUN is one range.
	weekdays = []string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
)

// Describe returns the schedule in words, such as "at 08:00 on Monday through Friday". The
// words name exactly the minutes, hours, days and months at which the schedule occurs.
func (s Schedule) Describe() string {
	days := s.describeDays()
	words, listed := s.describeTimes()
	if days != "" {
		words += " " + days
	} else if listed {
		words += " every day"
	}
	if s.month != month.all() {
		words += " in " + join(ranges(s.month>>month.first, monthNames), "and")
	}
	return words
}

// describeTimes returns the minutes and hours in words. listed is true if the words list the
// times of day.
func (s Schedule) describeTimes() (words string, listed bool) {
	everyMinute, everyHour := s.minute == minute.all(), s.hour == hour.all()
	if !everyHour && bits.OnesCount64(s.minute)*bits.OnesCount64(s.hour) <= maxTimes {
		var times []string
		for _, h := range numbers(s.hour) {
			for _, m := range numbers(s.minute) {
				times = append(times, fmt.Sprintf("%02d:%02d", h, m))
			}
		}
		return "at " + join(times, "and"), true
	}
	step, stepped := s.minuteStep()
	switch {
	case everyMinute:
		words = "every minute"
	case stepped:
		words = fmt.Sprintf("every %d minutes", step)
	default:
		words = "at " + counted("minute", ranges(s.minute, nil))
	}
	switch {
	case !everyHour:
		words += " of " + counted("hour", ranges(s.hour, nil))
	case !everyMinute && !stepped:
		words += " of every hour"
	}
	return words, false
}

// minuteStep returns the step of minutes that divide the hour into equal parts and begin
// with 0, such as */15. It returns false for other minutes.
func (s Schedule) minuteStep() (step int, ok bool) {
	n := bits.OnesCount64(s.minute)
	if n < 2 || 60%n != 0 {
		return 0, false
	}
	step = 60 / n
	return step, s.minute == minute.span(0, minute.last, step)
}

// describeDays returns the days in words, or "" if the schedule occurs every day.
func (s Schedule) describeDays() string {
	var ordinals []string
	for n := 1; n <= dayOfMonth.last; n++ {
		ordinals = append(ordinals, ordinal(n))
	}
	ofMonth := ranges(s.dayOfMonth>>dayOfMonth.first, ordinals)
	// Sunday moves from the first to the last bit.
	ofWeek := ranges(s.dayOfWeek>>1|s.dayOfWeek&1<<6, weekdays)
	everyDate, everyWeekday := s.dayOfMonth == dayOfMonth.all(), s.dayOfWeek == dayOfWeek.all()
	switch {
	case everyDate && everyWeekday:
		return ""
	case everyDate:
		return "on " + join(ofWeek, "and")
	case everyWeekday:
		return "on the " + join(ofMonth, "and") + " of the month"
	case s.either:
		return "on the " + join(ofMonth, "and") + " of the month or on " + join(ofWeek, "and")
	default:
		return "on the " + join(ofMonth, "and") + " of the month if it is " + join(ofWeek, "or")
	}
}

// numbers returns the elements of a set in order.
func numbers(set uint64) (list []int) {
	for ; set != 0; set &= set - 1 {
		list = append(list, bits.TrailingZeros64(set))
	}
	return list
}

// ranges returns the elements of a set by their names, or as numbers if names is nil. Three
// or more in a row become a range.
func ranges(set uint64, names []string) (list []string) {
	name := func(n int) string {
		if names == nil {
			return fmt.Sprint(n)
		}
		return names[n]
	}
	elements := numbers(set)
	for i := 0; i < len(elements); {
		last := i
		for last+1 < len(elements) && elements[last+1] == elements[last]+1 {
			last++
		}
		if last-i < 2 {
			list = append(list, name(elements[i]))
			i++
			continue
		}
		list = append(list, name(elements[i])+" through "+name(elements[last]))
		i = last + 1
	}
	return list
}

// join returns a list in words, with a conjunction before the last element.
func join(list []string, conjunction string) string {
	last := len(list) - 1
	if last < 1 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:last], ", ") + " " + conjunction + " " + list[last]
}

// counted returns a unit with a list of numbers. The unit is in the plural unless there is
// only one number.
func counted(unit string, list []string) string {
	if len(list) > 1 || strings.Contains(list[0], " ") {
		unit += "s"
	}
	return unit + " " + join(list, "and")
}

// ordinal returns a number from 1 to 31 as an ordinal.
func ordinal(n int) string {
	suffix := "th"
	if n/10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprint(n) + suffix
}
