package trigger

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"containertriggers/shared/check"
	"containertriggers/shared/cron"
	"containertriggers/shared/fault"
)

// The defaults of what a create leaves out.
const (
	defaultPath     = "/"
	defaultMethod   = "post"
	defaultTimezone = "UTC"
)

// The limits of the source configs, in bytes. They are ours: together they keep
// a row far below DynamoDB's 400 KB.
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

// checkMethod takes an empty or unknown method for the default, as the stock
// clients send them for "not given".
func checkMethod(faults *fault.Arguments, argument, method string) string {
	if method == "" || method == "unknown_http_method" {
		return defaultMethod
	}
	if !slices.Contains(methods, method) {
		faults.Add(argument, fault.Constraint, "must be one of "+strings.Join(methods, ", ")+", in lower case")
	}
	return method
}

// checkPath takes an empty path for the default, as the stock clients always
// send one. Anything that could lead to another host or out of the path that
// the container's owner meant is refused.
func checkPath(faults *fault.Arguments, argument, path string) string {
	if path == "" {
		return defaultPath
	}
	parsed, err := url.ParseRequestURI(path)
	switch {
	case len(path) > maxPath:
		faults.Add(argument, fault.Constraint, fmt.Sprintf("must have at most %d bytes", maxPath))
	case !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//"):
		faults.Add(argument, fault.Format, `must begin with one "/", without scheme or host`)
	case strings.ContainsFunc(path, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\\' }):
		faults.Add(argument, fault.Format, "must not hold white space, control characters or backslashes: percent-encode them")
	case strings.Contains(path, "#"):
		faults.Add(argument, fault.Format, "must not hold a fragment")
	case err != nil:
		faults.Add(argument, fault.Format, "must be a URL path with valid percent-encoding")
	case slices.Contains(strings.Split(parsed.Path, "/"), ".."):
		faults.Add(argument, fault.Constraint, `must not hold ".." segments`)
	}
	return path
}

func checkSchedule(faults *fault.Arguments, argument, schedule string) string {
	if schedule == "" {
		faults.Add(argument, fault.Constraint, "must not be empty")
	} else if _, err := cron.Parse(schedule); err != nil {
		faults.Add(argument, fault.Format, err.Error())
	}
	return schedule
}

func checkTimezone(faults *fault.Arguments, argument, timezone string) string {
	if timezone == "" {
		return defaultTimezone
	}
	if _, err := cron.LoadZone(timezone); err != nil {
		faults.Add(argument, fault.Format, err.Error())
	}
	return timezone
}

func checkBody(faults *fault.Arguments, argument, body string) string {
	if len(body) > maxBody {
		faults.Add(argument, fault.Constraint, fmt.Sprintf("must have at most %d bytes", maxBody))
	}
	return body
}

// checkHeaders wants names and values that HTTP can carry (RFC 9110, sections
// 5.1 and 5.5); a line break in one would let it forge others.
func checkHeaders(faults *fault.Arguments, argument string, headers map[string]string) map[string]string {
	if len(headers) > maxHeaders {
		faults.Add(argument, fault.Constraint, fmt.Sprintf("must have at most %d headers", maxHeaders))
	}
	size := 0
	for name, value := range headers {
		size += len(name) + len(value)
		if name == "" || strings.ContainsFunc(name, notTokenRune) {
			faults.Add(argument, fault.Format, fmt.Sprintf("%q is not the name of an HTTP header", name))
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && unicode.IsControl(r) }) {
			faults.Add(argument, fault.Format, fmt.Sprintf("the value of %q holds control characters", name))
		}
	}
	if size > maxHeaderBytes {
		faults.Add(argument, fault.Constraint, fmt.Sprintf("must have at most %d bytes in all", maxHeaderBytes))
	}
	return headers
}

func notTokenRune(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// checkRegion takes an empty region for the trigger's own.
func checkRegion(faults *fault.Arguments, argument, region, own string) string {
	if region == "" {
		return own
	}
	if !check.Region(region) {
		faults.Add(argument, fault.Format, "must be a region of this API, such as fr-par: the AWS region is told by endpoint and queue_url")
	}
	return region
}

var natsSchemes = []string{"nats", "tls", "ws", "wss"}

func checkServers(faults *fault.Arguments, argument string, servers []string) []string {
	if len(servers) < 1 || len(servers) > maxServers {
		faults.Add(argument, fault.Constraint, fmt.Sprintf("must have 1 to %d URLs", maxServers))
	}
	for _, server := range servers {
		check.URL(faults, argument, server, natsSchemes...)
		if strings.Contains(server, ",") {
			faults.Add(argument, fault.Constraint, "each must be one URL")
		}
	}
	return servers
}

// checkSubject wants tokens joined by dots; "*" stands for one token, and ">",
// at the end alone, for all that follow.
func checkSubject(faults *fault.Arguments, argument, subject string) string {
	check.Text(faults, argument, subject, maxSubject)
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		switch {
		case token == "":
			faults.Add(argument, fault.Format, "must not hold an empty token")
		case token == ">" && i < len(tokens)-1:
			faults.Add(argument, fault.Format, `">" must be the last token`)
		case len(token) > 1 && strings.ContainsAny(token, "*>"):
			faults.Add(argument, fault.Format, "a wildcard must be a token of its own")
		}
	}
	return subject
}

// checkCredentials bounds a credentials file. What is in it is for the NATS
// server to judge; empty means a server without authentication.
func checkCredentials(faults *fault.Arguments, argument, credentials string) {
	if len(credentials) > maxCredentials {
		faults.Add(argument, fault.Constraint, fmt.Sprintf("must have at most %d bytes", maxCredentials))
	}
}
