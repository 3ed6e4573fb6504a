package request

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"containertriggers/shared/contract/apierr"
)

// maxDurationText is in bytes.
const maxDurationText = 32

// Duration parses the JSON form of a duration in protobuf: decimal seconds and "s".
// It adds a fault and returns 0 unless the duration is from least to most.
func Duration(faults *apierr.Arguments, argument, text string, least, most time.Duration) time.Duration {
	number, found := strings.CutSuffix(text, "s")
	seconds, err := strconv.ParseFloat(number, 64)
	if !found || err != nil || len(text) > maxDurationText || strings.ContainsFunc(number, notDecimal) {
		faults.Add(argument, apierr.Format, `must be a number of seconds followed by "s", such as "300s"`)
		return 0
	}
	if seconds < least.Seconds() || seconds > most.Seconds() {
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must be between %s and %s", DurationText(least), DurationText(most)))
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// notDecimal reports whether r is neither a digit nor a point. ParseFloat alone accepts
// more, such as exponents.
func notDecimal(r rune) bool {
	return (r < '0' || r > '9') && r != '.'
}

// DurationText returns the JSON form of a duration in protobuf.
func DurationText(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}
