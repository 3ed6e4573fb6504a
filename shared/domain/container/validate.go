package container

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
)

// checkImage returns the image. It adds a fault unless the image is a URL, because the
// service runs no images and needs the URL of the running container.
func checkImage(faults *apierr.Arguments, image string, rules Rules) string {
	if !strings.HasPrefix(image, "https://") && !strings.HasPrefix(image, "http://") {
		faults.Add("image", apierr.Format,
			"must be the URL of a running container, such as https://jobs.example.com, because this service does not pull or run images")
	}
	return checkEndpoint(faults, "image", image, rules)
}

// checkEndpoint returns the endpoint. It adds a fault unless the endpoint is a URL without
// a query string. A call appends the path and query of its trigger.
func checkEndpoint(faults *apierr.Arguments, argument, endpoint string, rules Rules) string {
	request.URL(faults, argument, endpoint, rules.schemes()...)
	if parsed, err := url.Parse(endpoint); err == nil && (parsed.RawQuery != "" || parsed.ForceQuery) {
		faults.Add(argument, apierr.Constraint, "must not contain a query string (?…); set it in the destination_config.http_path of a trigger")
	}
	return endpoint
}

// maxDurationText is in bytes.
const maxDurationText = 32

// checkDuration parses the JSON form of a duration in protobuf: decimal seconds and "s".
// It adds a fault and returns 0 unless the duration is from least to most.
func checkDuration(faults *apierr.Arguments, argument, text string, least, most time.Duration) time.Duration {
	number, found := strings.CutSuffix(text, "s")
	seconds, err := strconv.ParseFloat(number, 64)
	if !found || err != nil || len(text) > maxDurationText || strings.ContainsFunc(number, notDecimal) {
		faults.Add(argument, apierr.Format, `must be a number of seconds followed by "s", such as "300s"`)
		return 0
	}
	if seconds < least.Seconds() || seconds > most.Seconds() {
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must be between %s and %s", durationText(least), durationText(most)))
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// notDecimal reports whether r is neither a digit nor a point. ParseFloat alone accepts
// more, such as exponents.
func notDecimal(r rune) bool {
	return (r < '0' || r > '9') && r != '.'
}

// durationText returns the JSON form of a duration in protobuf.
func durationText(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}
