package cron

import (
	"strings"
	"time"
)

// LoadZone finds a time zone by its name in the tz database; "" is UTC. The
// error is an *Error. What only stands for this machine's own zone, or exists in
// some installations of the database alone, is refused.
func LoadZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	private := strings.HasPrefix(name, "posix") || strings.HasPrefix(name, "right/") ||
		strings.EqualFold(name, "local") || name == "localtime"
	if err != nil || private || len(name) > maxZone {
		return nil, &Error{"timezone", "must be a name of the tz database, such as Europe/Paris"}
	}
	return zone, nil
}

// maxZone is how long a ScheduleExpressionTimezone of EventBridge Scheduler may
// be (API reference of CreateSchedule).
const maxZone = 50

// horizon is how many days a search looks ahead. The longest that a schedule may
// pause is eight years, from one 29 February to another around a year like 2100
// that is no leap year.
const horizon = 8*366 + 1

// Next is the first occurrence strictly after a time, in the zone.
func (s Schedule) Next(after time.Time, zone *time.Location) time.Time {
	if s.byClock(zone) {
		t := after.UTC().Truncate(time.Minute)
		for {
			if t = t.Add(time.Minute); s.minute&(1<<t.Minute()) != 0 {
				return t.In(zone)
			}
		}
	}
	// Earlier local times cannot come after a later one's first time, so the
	// search begins where the clock on the wall stands.
	local := after.In(zone)
	year, monthOfYear, day := local.Date()
	hour, minute := local.Hour(), local.Minute()
	for range horizon {
		// Noon of UTC serves as the calendar: it has no zone to trip over.
		date := time.Date(year, monthOfYear, day, 12, 0, 0, 0, time.UTC)
		if s.matchesDate(date) {
			if t, ok := s.nextOn(date, hour, minute, after, zone); ok {
				return t
			}
		}
		year, monthOfYear, day = date.AddDate(0, 0, 1).Date()
		hour, minute = 0, 0
	}
	return time.Time{}
}

// nextOn is the first occurrence on a date that is after a time, looking from
// the hour and minute on.
func (s Schedule) nextOn(date time.Time, hour, minute int, after time.Time, zone *time.Location) (time.Time, bool) {
	for ; hour < 24; hour, minute = hour+1, 0 {
		if s.hour&(1<<hour) == 0 {
			continue
		}
		for ; minute < 60; minute++ {
			if s.minute&(1<<minute) == 0 {
				continue
			}
			if t, ok := instant(date, hour, minute, zone); ok && t.After(after) {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

// Matches says whether the minute of t is an occurrence.
func (s Schedule) Matches(t time.Time, zone *time.Location) bool {
	local := t.In(zone).Truncate(time.Minute)
	if local.Second() != 0 { // a historic offset with seconds
		local = local.Add(-time.Duration(local.Second()) * time.Second)
	}
	if s.minute&(1<<local.Minute()) == 0 {
		return false
	}
	if s.byClock(zone) {
		return true
	}
	if s.hour&(1<<local.Hour()) == 0 || !s.matchesDate(local) {
		return false
	}
	first, ok := instant(local, local.Hour(), local.Minute(), zone)
	return ok && first.Equal(local)
}

// matchesDate says whether the schedule occurs on the date that t shows.
func (s Schedule) matchesDate(t time.Time) bool {
	if s.month&(1<<t.Month()) == 0 {
		return false
	}
	ofMonth := s.dayOfMonth&(1<<t.Day()) != 0
	ofWeek := s.dayOfWeek&(1<<t.Weekday()) != 0
	if restrictedMonth, restrictedWeek := s.restrictedDays(); restrictedMonth && restrictedWeek {
		return ofMonth || ofWeek
	}
	return ofMonth && ofWeek
}

// instant is when the clock on the zone's walls first shows that time of the
// date; ok is false where it never does.
func instant(date time.Time, hour, minute int, zone *time.Location) (t time.Time, ok bool) {
	year, month, day := date.Date()
	t = time.Date(year, month, day, hour, minute, 0, 0, zone)
	if t.Hour() != hour || t.Minute() != minute || t.Day() != day {
		return t, false
	}
	// Where the time comes twice, time.Date may give either.
	if start, _ := t.ZoneBounds(); !start.IsZero() {
		_, offset := t.Zone()
		_, before := start.Add(-time.Second).Zone()
		if earlier := t.Add(time.Duration(offset-before) * time.Second); earlier.Before(start) {
			return earlier, true
		}
	}
	return t, true
}

// byClock says whether the schedule goes by the clock instead of the calendar:
// nothing but its minute is restricted, and the minute is the same in UTC.
func (s Schedule) byClock(zone *time.Location) bool {
	return s.hour == hour.all() && s.month == month.all() &&
		s.dayOfMonth == dayOfMonth.all() && s.dayOfWeek == dayOfWeek.all() &&
		wholeHours(zone)
}

// The years in which a zone's offset must be a whole number of hours. Before,
// many zones had odd ones; after, the rules repeat themselves.
var (
	modern  = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	distant = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
)

// sampling is shorter than any period of daylight saving time. Looking at samples
// is slower than following time.Time.ZoneBounds, but that does not get past some
// turns of the year (it ends the year after 365 days, leap or not).
const sampling = 14 * 24 * time.Hour

func wholeHours(zone *time.Location) bool {
	for t := modern; t.Before(distant); t = t.Add(sampling) {
		if _, offset := t.In(zone).Zone(); offset%3600 != 0 {
			return false
		}
	}
	return true
}
