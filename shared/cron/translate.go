package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Expression is a schedule of EventBridge Scheduler.
type Expression struct {
	// Cron is of the form cron(minutes hours day-of-month month day-of-week year),
	// at most 256 characters long.
	Cron string
	// Timezone is the zone that Cron is read in.
	Timezone string
}

// Expressions are what EventBridge Scheduler must have, together, to fire at
// the schedule's occurrences in the zone, and at no other time. They are two
// where both day fields are restricted, for AWS has no "either day matches": the
// one by the day of the month comes first. A day that both match fires both.
//
// AWS counts Sunday as 1 and wants "?" in one of the day fields
// (EventBridge Scheduler User Guide, "Schedule types").
func (s Schedule) Expressions(zone *time.Location) []Expression {
	timezone := zone.String()
	if s.byClock(zone) {
		// In UTC no hour repeats, so that Scheduler goes through all of them.
		timezone = "UTC"
	}
	minutes, hours, months := minute.render(s.minute), hour.render(s.hour), month.render(s.month)
	byMonth := Expression{fmt.Sprintf("cron(%s %s %s %s ? *)", minutes, hours, dayOfMonth.render(s.dayOfMonth), months), timezone}
	byWeek := Expression{fmt.Sprintf("cron(%s %s ? %s %s *)", minutes, hours, months, awsDayOfWeek.render(s.dayOfWeek<<1)), timezone}

	ofMonth, ofWeek := s.restrictedDays()
	switch {
	case ofMonth && ofWeek && s.monthHasDay():
		return []Expression{byMonth, byWeek}
	case ofWeek:
		return []Expression{byWeek}
	default:
		return []Expression{byMonth}
	}
}

var awsDayOfWeek = field{name: "AWS day of week", first: 1, last: 7}

// render writes a set as "*" or as a list of numbers and ranges.
func (f field) render(set uint64) string {
	if set == f.all() {
		return "*"
	}
	var list []string
	for set != 0 {
		first := bits.TrailingZeros64(set)
		length := bits.TrailingZeros64(^(set >> first))
		last := first + length - 1
		switch length {
		case 1:
			list = append(list, strconv.Itoa(first))
		case 2:
			list = append(list, strconv.Itoa(first), strconv.Itoa(last))
		default:
			list = append(list, strconv.Itoa(first)+"-"+strconv.Itoa(last))
		}
		set &^= 1<<(last+1) - 1
	}
	return strings.Join(list, ",")
}
