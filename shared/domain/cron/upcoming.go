package cron

import (
	"fmt"
	"time"
)

// Occurrence is one occurrence of a schedule.
type Occurrence struct {
	At time.Time // in the schedule's zone
	// Note says what a change of the clock means for this occurrence, or for local times
	// between the last occurrence and this one. It is empty if the clock does not change.
	Note string
}

// Upcoming returns the next occurrences after a time, in the zone.
func (s Schedule) Upcoming(after time.Time, zone *time.Location, count int) []Occurrence {
	byClock := s.byClock(zone)
	list := make([]Occurrence, 0, count)
	for range count {
		at := s.Next(after, zone)
		if at.IsZero() {
			break
		}
		found := Occurrence{At: at}
		if !byClock {
			found.Note = s.note(after.In(zone), at)
		}
		list = append(list, found)
		after = at
	}
	return list
}

// note returns the note of an occurrence that follows a time.
func (s Schedule) note(after, at time.Time) string {
	// Without a change of the clock, the schedule has no local time between the two.
	var first, last time.Time
	for missing := s.Next(floating(after), time.UTC); missing.Before(floating(at)); missing = s.Next(missing, time.UTC) {
		if _, exists := instant(missing, missing.Hour(), missing.Minute(), at.Location()); exists {
			continue
		}
		if first.IsZero() {
			first = missing
		}
		last = missing
	}
	const clock, date = "15:04", "2 January 2006"
	switch {
	case !first.IsZero() && first.Equal(last):
		return fmt.Sprintf("%s does not exist on %s: not run", first.Format(clock), first.Format(date))
	case !first.IsZero() && first.Format(date) == last.Format(date):
		return fmt.Sprintf("%s to %s do not exist on %s: not run", first.Format(clock), last.Format(clock), first.Format(date))
	case !first.IsZero():
		return fmt.Sprintf("%s on %s to %s on %s do not exist: not run", first.Format(clock), first.Format(date), last.Format(clock), last.Format(date))
	case repeats(at):
		return fmt.Sprintf("%s comes twice on %s: run the first time", at.Format(clock), at.Format(date))
	default:
		return ""
	}
}

// floating returns the local time of t as a time in UTC.
func floating(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// longestRepeat is the largest step by which a clock goes back. Only a zone that moves to
// the other side of the date line goes back by so much.
const longestRepeat = 24 * time.Hour

// repeats reports whether the local time of t comes again because the clock goes back.
func repeats(t time.Time) bool {
	_, now := t.Zone()
	_, later := t.Add(longestRepeat).Zone()
	again := t.Add(time.Duration(now-later) * time.Second)
	return again.After(t) && floating(again).Equal(floating(t))
}
