package cron

import "time"

// Filter names the day field that an [Expression] does not restrict.
type Filter string

// The filters. NoFilter means that every firing is an occurrence.
const (
	NoFilter         Filter = ""
	FilterDayOfMonth Filter = "day_of_month"
	FilterDayOfWeek  Filter = "day_of_week"
)

// Valid reports whether f is one of the filters.
func (f Filter) Valid() bool {
	return f == NoFilter || f == FilterDayOfMonth || f == FilterDayOfWeek
}

// Passes reports whether a firing of an [Expression] with that filter is an occurrence. It
// is one if the filter's day field matches the local date of the firing.
//
// EventBridge Scheduler decides the local time of a firing, and may use another release of
// the time zone database than this program. If the expression does not fire at the local
// time that this program computes, Passes uses the nearest local time at which it fires.
func (s Schedule) Passes(filter Filter, fired time.Time, zone *time.Location) bool {
	open := s
	switch filter {
	case FilterDayOfMonth:
		open.dayOfMonth = dayOfMonth.all()
	case FilterDayOfWeek:
		open.dayOfWeek = dayOfWeek.all()
	default:
		return true
	}
	return s.matchesDate(open.nearest(wall(fired.In(zone))))
}

// nearest returns the time closest to local that the schedule's fields match. It returns
// local if they match no time within a day.
func (s Schedule) nearest(local time.Time) time.Time {
	for skew := time.Duration(0); skew <= maxSkew; skew += offsetStep {
		for _, t := range []time.Time{local.Add(skew), local.Add(-skew)} {
			if s.minute&(1<<t.Minute()) != 0 && s.hour&(1<<t.Hour()) != 0 && s.matchesDate(t) {
				return t
			}
		}
	}
	return local
}

// Offsets from UTC are multiples of a quarter of an hour. The offsets of a zone in two
// releases of the database differ by at most a day, if the zone crosses the date line.
const (
	offsetStep = 15 * time.Minute
	maxSkew    = 24 * time.Hour
)

// wall returns the local time of t with UTC as its zone.
func wall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), 0, 0, time.UTC)
}
