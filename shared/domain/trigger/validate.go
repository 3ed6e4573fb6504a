package trigger

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/http/httpguts"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/domain/cron"
)

// The defaults of fields that a create does not give.
const (
	defaultPath     = "/"
	defaultMethod   = "post"
	defaultTimezone = "UTC"
)

// The limits of the source configs, in bytes or in elements. They are ours, and keep a row
// far below DynamoDB's 400 KB.
const (
	maxPath        = 2048
	maxBody        = 64 << 10
	maxHeaders     = 64
	maxHeaderBytes = 16 << 10
	maxKeyLength   = 512
	maxServers     = 5
	maxSubject     = 255
	// KMS encrypts at most 4,096 bytes in one call.
	maxCredentials = 4096
)

var methods = []string{"get", "post", "put", "patch", "delete"}

// checkPath returns the path. It adds a fault if the path could lead to another host, or out
// of the endpoint's path.
func checkPath(faults *apierr.Arguments, argument, path string) string {
	parsed, err := url.ParseRequestURI(path)
	switch {
	case len(path) > maxPath:
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must have at most %d bytes", maxPath))
	case !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//"):
		faults.Add(argument, apierr.Format, `must begin with one "/", without a scheme or a host`)
	case strings.ContainsFunc(path, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\\' }):
		faults.Add(argument, apierr.Format, "must not contain white space, control characters or backslashes; percent-encode them")
	case strings.Contains(path, "#"):
		faults.Add(argument, apierr.Format, "must not contain a fragment (#…)")
	case err != nil || !validEncoding(parsed.RawQuery):
		faults.Add(argument, apierr.Format, `must have two hexadecimal digits after each "%"`)
	case slices.Contains(strings.Split(parsed.Path, "/"), ".."):
		faults.Add(argument, apierr.Constraint, `must not contain ".." segments`)
	}
	return path
}

// validEncoding reports whether each "%" of a query begins a percent-encoded byte.
func validEncoding(query string) bool {
	_, err := url.PathUnescape(query)
	return err == nil
}

// checkSchedule returns the schedule. It adds a fault if package cron does not accept it.
func checkSchedule(faults *apierr.Arguments, argument, schedule string) string {
	if schedule == "" {
		faults.Add(argument, apierr.Constraint, "must not be empty")
	} else if _, err := cron.Parse(schedule); err != nil {
		faults.Add(argument, apierr.Format, "must be a UNIX cron schedule ("+err.Error()+")")
	}
	return schedule
}

// checkTimezone returns the time zone, or the default if it is empty. It adds a fault if
// package cron does not know the zone.
func checkTimezone(faults *apierr.Arguments, argument, timezone string) string {
	if timezone == "" {
		return defaultTimezone
	}
	_, err := cron.LoadZone(timezone)
	if wrong, ok := errors.AsType[*cron.Error](err); ok {
		faults.Add(argument, apierr.Format, wrong.Problem)
	}
	return timezone
}

// checkBody returns the body. It adds a fault if the body is too long.
func checkBody(faults *apierr.Arguments, argument, body string) string {
	if len(body) > maxBody {
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must have at most %d bytes", maxBody))
	}
	return body
}

// checkHeaders returns the headers. It adds a fault if package invoke would not send a name
// or a value. Both packages use the functions of httpguts, so that no line break in one
// header can forge another. Names that differ only in case are a fault, because they would
// become one header with two values in random order.
func checkHeaders(faults *apierr.Arguments, argument string, headers map[string]string) map[string]string {
	if len(headers) > maxHeaders {
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must have at most %d headers", maxHeaders))
	}
	size := 0
	spelled := map[string]string{} // by the name in lower case
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value := headers[name]
		if other, ok := spelled[strings.ToLower(name)]; ok {
			faults.Add(argument, apierr.Constraint, fmt.Sprintf("must not have both %q and %q, which differ only in case", other, name))
		}
		spelled[strings.ToLower(name)] = name
		size += len(name) + len(value)
		if !httpguts.ValidHeaderFieldName(name) {
			faults.Add(argument, apierr.Format, fmt.Sprintf("must have valid HTTP header names, and %q is not one", name))
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			faults.Add(argument, apierr.Format, fmt.Sprintf("must not have control characters in a value, but has some in that of %q", name))
		}
	}
	if size > maxHeaderBytes {
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must have at most %d bytes in total", maxHeaderBytes))
	}
	return headers
}

// checkRegion returns the region, or the trigger's own if it is empty. It adds a fault if it
// is not a region of this API.
func checkRegion(faults *apierr.Arguments, argument, region, own string) string {
	if region == "" {
		return own
	}
	if !request.Region(region) {
		faults.Add(argument, apierr.Format, "must be a region of this API, such as fr-par; the AWS region follows from endpoint and queue_url")
	}
	return region
}

var natsSchemes = []string{"nats", "tls", "ws", "wss"}

// checkServers returns the URLs. It adds a fault for each rule that they break.
func checkServers(faults *apierr.Arguments, argument string, servers []string) []string {
	if len(servers) < 1 || len(servers) > maxServers {
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must have 1 to %d URLs", maxServers))
	}
	webSockets := 0
	for _, server := range servers {
		if strings.Contains(server, ",") {
			faults.Add(argument, apierr.Constraint, "must have one URL in each element, without commas")
		}
		request.URL(faults, argument, server, natsSchemes...)
		if strings.HasPrefix(strings.ToLower(server), "ws") {
			webSockets++
		}
	}
	if webSockets > 0 && webSockets < len(servers) {
		// A cluster announces the addresses of one protocol only, so a client of a mixed list
		// could get addresses of the wrong protocol.
		faults.Add(argument, apierr.Constraint, "must have only WebSocket servers (ws://, wss://) or none of them")
	}
	return servers
}

// checkSubject returns the subject. It adds a fault unless the subject is a list of tokens
// that dots join. The token "*" matches one token. The token ">" matches all tokens that
// follow, and must be the last one.
func checkSubject(faults *apierr.Arguments, argument, subject string) string {
	request.Text(faults, argument, subject, maxSubject)
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		switch {
		case token == "":
			faults.Add(argument, apierr.Format, "must not contain an empty token; remove a dot or add a token")
		case token == ">" && i < len(tokens)-1:
			faults.Add(argument, apierr.Format, `must have ">" only as the last token`)
		case len(token) > 1 && strings.ContainsAny(token, "*>"):
			faults.Add(argument, apierr.Format, "must have each wildcard as a token of its own, such as a.*.b")
		}
	}
	return subject
}

// checkCredentials adds a fault if a credentials file is too long. The NATS server checks
// its content. It is empty if the server needs no authentication.
func checkCredentials(faults *apierr.Arguments, argument, credentials string) {
	if len(credentials) > maxCredentials {
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must have at most %d bytes", maxCredentials))
	}
}
