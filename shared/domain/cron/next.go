package cron

import (
	"regexp"
	"time"
)

// LoadZone returns the time zone with a name of the tz database, or UTC if the name is
// empty. It returns an *Error for every other name, even if the machine can open a zone file
// by it, because EventBridge Scheduler does not know such names.
func LoadZone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	if len(name) <= maxZone && zoneName.MatchString(name) && !noZone.MatchString(name) {
		if zone, err := time.LoadLocation(name); err == nil {
			return zone, nil
		}
	}
	return nil, &Error{"timezone", "must be a name of the tz database, such as Europe/Paris"}
}

// zoneName is the form of the database's names (its file theory.html, "Timezone
// identifiers"). A name is a list of parts, each begins with a capital, and "/" joins them.
// Paths such as "America//New_York", "./UTC" and "posix/UTC" do not match.
var zoneName = regexp.MustCompile(`^[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*)*$`)

// noZone matches the machine's own zone, the placeholder of a machine without a zone, and
// a folder that the database had until 2020.
var noZone = regexp.MustCompile(`^(Local|Factory|SystemV/.*)$`)

// maxZone is the largest length of a ScheduleExpressionTimezone of EventBridge Scheduler
// (API reference of CreateSchedule).
const maxZone = 50

// horizon is the number of days that a search looks ahead. Two occurrences are at most 40
// years apart. The longest gap is between two 29 Februaries on the same day of the week,
// around a year such as 2100 that is not a leap year.
const horizon = 40*366 + 1

// Next returns the first occurrence after a time, in the zone.
func (s Schedule) Next(after time.Time, zone *time.Location) time.Time {
	if s.byClock(zone) {
		t := after.UTC().Truncate(time.Minute)
		for {
			if t = t.Add(time.Minute); s.minute&(1<<t.Minute()) != 0 {
				return t.In(zone)
			}
		}
	}
	// An earlier local time cannot occur for the first time after a later one, so the search
	// begins at the present local time.
	local := after.In(zone)
	year, monthOfYear, day := local.Date()
	hour, minute := local.Hour(), local.Minute()
	for range horizon {
		// Noon in UTC exists on every date.
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

// nextOn returns the first occurrence on a date that is after a time. It searches from an
// hour and minute on. It returns false if there is none.
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

// matchesDate reports whether the schedule occurs on the date of t.
func (s Schedule) matchesDate(t time.Time) bool {
	if s.month&(1<<t.Month()) == 0 {
		return false
	}
	ofMonth := s.dayOfMonth&(1<<t.Day()) != 0
	ofWeek := s.dayOfWeek&(1<<t.Weekday()) != 0
	if s.either {
		return ofMonth || ofWeek
	}
	return ofMonth && ofWeek
}

// instant returns the first time at which the local time in the zone is that hour and
// minute of the date. It returns false if that local time does not exist.
func instant(date time.Time, hour, minute int, zone *time.Location) (t time.Time, ok bool) {
	year, month, day := date.Date()
	t = time.Date(year, month, day, hour, minute, 0, 0, zone)
	if t.Hour() != hour || t.Minute() != minute || t.Day() != day {
		return t, false
	}
	// If the local time repeats, time.Date may return either time.
	if start, _ := t.ZoneBounds(); !start.IsZero() {
		_, offset := t.Zone()
		_, before := start.Add(-time.Second).Zone()
		if earlier := t.Add(time.Duration(offset-before) * time.Second); earlier.Before(start) {
			return earlier, true
		}
	}
	return t, true
}

// byClock reports whether the schedule restricts only the minute, and the minute is the
// same in UTC. Such a schedule also occurs in a repeated hour.
func (s Schedule) byClock(zone *time.Location) bool {
	return s.hour == hour.all() && s.month == month.all() &&
		s.dayOfMonth == dayOfMonth.all() && s.dayOfWeek == dayOfWeek.all() &&
		wholeHours(zone)
}

// The years that wholeHours checks. Many zones had other offsets before them, and the rules
// repeat after them.
var (
	modern  = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	distant = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
)

// sampling is shorter than any period of daylight saving time. wholeHours checks samples
// because time.Time.ZoneBounds returns wrong bounds at the end of some leap years (it ends
// every year after 365 days).
const sampling = 14 * 24 * time.Hour

// wholeHours reports whether the zone's offset is always a whole number of hours.
func wholeHours(zone *time.Location) bool {
	for t := modern; t.Before(distant); t = t.Add(sampling) {
		if _, offset := t.In(zone).Zone(); offset%3600 != 0 {
			return false
		}
	}
	return true
}
