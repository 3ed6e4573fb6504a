// Package wiretime is how times look in answers and rows: RFC 3339 in UTC with
// microseconds, always all six digits, so that text and time sort alike.
package wiretime

import (
	"fmt"
	"time"
)

const layout = "2006-01-02T15:04:05.000000Z"

// Time is a time that reads and writes itself in that form.
type Time time.Time

// Precise is a time in the wire's zone and precision.
func Precise(t time.Time) time.Time {
	return t.UTC().Truncate(time.Microsecond)
}

// After is the time to note for a change made at now of what last changed at
// last: now, or the next microsecond where the clock has not moved on.
func After(last, now time.Time) time.Time {
	now = Precise(now)
	if earliest := last.Add(time.Microsecond); now.Before(earliest) {
		return earliest
	}
	return now
}

// String is the time in the wire's form.
func (t Time) String() string {
	return time.Time(t).UTC().Format(layout)
}

// MarshalText writes the wire's form.
func (t Time) MarshalText() ([]byte, error) {
	return []byte(t.String()), nil
}

// UnmarshalText reads the wire's form and nothing else.
func (t *Time) UnmarshalText(text []byte) error {
	parsed, err := time.Parse(layout, string(text))
	if err != nil {
		return fmt.Errorf("reading a time: %w", err)
	}
	*t = Time(parsed)
	return nil
}
