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
