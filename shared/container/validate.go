package container

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"containertriggers/shared/check"
	"containertriggers/shared/fault"
)

// checkEndpoint wants an origin, with a path at most: a trigger's path and
// query are added to it.
func checkEndpoint(faults *fault.Arguments, endpoint string, rules Rules) string {
	check.URL(faults, "public_endpoint", endpoint, rules.schemes()...)
	if parsed, err := url.Parse(endpoint); err == nil && (parsed.RawQuery != "" || parsed.ForceQuery) {
		faults.Add("public_endpoint", fault.Constraint, "must not hold a query string")
	}
	return endpoint
}

// checkPrivacy takes an unknown privacy for the default, as the stock clients
// send it for "not given".
func checkPrivacy(faults *fault.Arguments, privacy string) Privacy {
	switch p := Privacy(privacy); p {
	case "", "unknown_privacy":
		return Public
	case Public, Private:
		return p
	}
	faults.Add("privacy", fault.Constraint, "must be public or private")
	return ""
}

// checkTimeout reads protobuf's JSON form of a duration: decimal seconds and "s".
func checkTimeout(faults *fault.Arguments, text string) time.Duration {
	number, found := strings.CutSuffix(text, "s")
	seconds, err := strconv.ParseFloat(number, 64)
	if !found || err != nil || len(text) > maxTimeoutText || strings.ContainsFunc(number, notDecimal) {
		faults.Add("timeout", fault.Format, `must be a number of seconds followed by "s", such as "300s"`)
		return 0
	}
	if seconds < 1 || seconds > MaxTimeout.Seconds() {
		faults.Add("timeout", fault.Constraint, fmt.Sprintf("must be between 1s and %s", timeoutText(MaxTimeout)))
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

func notDecimal(r rune) bool {
	return (r < '0' || r > '9') && r != '.'
}

// timeoutText writes a duration as protobuf's JSON does.
func timeoutText(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}
