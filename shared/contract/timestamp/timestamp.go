// Package timestamp formats times for answers and table rows. The form is RFC 3339 in UTC
// with six digits of a second, so that texts sort in the order of their times.
package timestamp

import (
	"fmt"
	"time"
)

const layout = "2006-01-02T15:04:05.000000Z"

// Time is a time that marshals to that form.
type Time time.Time

// Truncate returns t in UTC with the precision of the form.
func Truncate(t time.Time) time.Time {
	return t.UTC().Truncate(time.Microsecond)
}

// Next returns the time of a change that happens now. If now is not after the last change,
// it returns the microsecond that follows the last change.
func Next(last, now time.Time) time.Time {
	now = Truncate(now)
	if earliest := last.Add(time.Microsecond); now.Before(earliest) {
		return earliest
	}
	return now
}

// String returns the time in the form of the API.
func (t Time) String() string {
	return time.Time(t).UTC().Format(layout)
}

// MarshalText returns the same text as String.
func (t Time) MarshalText() ([]byte, error) {
	return []byte(t.String()), nil
}

// UnmarshalText parses the text. It returns an error for every other form.
func (t *Time) UnmarshalText(text []byte) error {
	parsed, err := time.Parse(layout, string(text))
	if err != nil {
		return fmt.Errorf("parsing a time: %w", err)
	}
	*t = Time(parsed)
	return nil
}
