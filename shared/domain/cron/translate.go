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
	// Cron has the form cron(minutes hours day-of-month month day-of-week year) and at most
	// 256 characters.
	Cron string
	// Timezone is the time zone of Cron.
	Timezone string
	// Filter is the day field that Cron does not restrict. It decides which firings are
	// occurrences, as [Schedule.Passes] describes.
	Filter Filter
}

// Expressions returns the expressions with which EventBridge Scheduler fires at the
// schedule's occurrences in the zone. Scheduler fires at no other time that passes the
// filter.
//
// Scheduler cannot combine the day fields, because one of them must be "?". If one matching
// field is enough, there are two expressions, and the one with the day of the month is the
// first. Both fire on a day that both fields match. If both fields must match, there is one
// expression with the field that fires less often, and Filter names the other field.
//
// Scheduler counts Sunday as 1 (EventBridge Scheduler User Guide, "Schedule
// types").
func (s Schedule) Expressions(zone *time.Location) []Expression {
	timezone := zone.String()
	if s.byClock(zone) {
		// No hour repeats in UTC, so Scheduler does not skip any.
		timezone = "UTC"
	}
	minutes, hours, months := minute.render(s.minute), hour.render(s.hour), month.render(s.month)
	byMonth := Expression{Cron: fmt.Sprintf("cron(%s %s %s %s ? *)", minutes, hours, dayOfMonth.render(s.dayOfMonth), months), Timezone: timezone}
	byWeek := Expression{Cron: fmt.Sprintf("cron(%s %s ? %s %s *)", minutes, hours, months, awsDayOfWeek.render(s.dayOfWeek<<1)), Timezone: timezone}

	switch {
	case s.either:
		return []Expression{byMonth, byWeek}
	case s.dayOfWeek == dayOfWeek.all():
		return []Expression{byMonth}
	case s.dayOfMonth == dayOfMonth.all():
		return []Expression{byWeek}
	case bits.OnesCount64(s.dayOfMonth)*7 <= bits.OnesCount64(s.dayOfWeek)*31:
		byMonth.Filter = FilterDayOfWeek
		return []Expression{byMonth}
	default:
		byWeek.Filter = FilterDayOfMonth
		return []Expression{byWeek}
	}
}

var awsDayOfWeek = field{name: "AWS day of week", first: 1, last: 7}

// render returns a set as "*" or as a list of numbers and ranges.
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
