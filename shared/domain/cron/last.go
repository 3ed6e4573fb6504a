package cron

import "time"

// Last returns the last occurrence in a time zone that is after one time and not after
// another. It returns the zero time if there is none.
func (s Schedule) Last(after, until time.Time, zone *time.Location) time.Time {
	// The periods grow, so that a long time costs little if an occurrence is near its end.
	for period := time.Hour; ; period *= 2 {
		begin := until.Add(-period)
		if begin.Before(after) {
			begin = after
		}
		last := time.Time{}
		for at := s.Next(begin, zone); !at.IsZero() && !at.After(until); at = s.Next(at, zone) {
			last = at
		}
		if !last.IsZero() || begin.Equal(after) {
			return last
		}
	}
}
