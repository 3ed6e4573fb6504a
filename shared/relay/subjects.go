package relay

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// covers reports whether wide matches every subject that narrow matches.
func covers(wide, narrow string) bool { return compare(wide, narrow, false) }

// overlaps reports whether two patterns match a common subject.
func overlaps(one, other string) bool { return compare(one, other, true) }

// compare reports whether wide matches every subject that narrow matches, or, with
// either set, whether they match a common subject.
func compare(wide, narrow string, either bool) bool {
	w, n := strings.Split(wide, "."), strings.Split(narrow, ".")
	for i, token := range w {
		switch {
		case i >= len(n):
			return false
		case token == ">":
			return true
		case n[i] == ">":
			return either
		case token != "*" && token != n[i] && (!either || n[i] != "*"):
			return false
		}
	}
	return len(w) == len(n)
}

// wildcardToken matches a reference of a subject transform to a wildcard of its source: $1
// or {{wildcard(1)}} (NATS documentation, "Subject Mapping and Partitioning").
var wildcardToken = regexp.MustCompile(`^(?:\$(\d+)|\{\{\s*(?i:wildcard)\s*\(\s*(\d+)\s*\)\s*\}\})$`)

// transformed returns the subject under which a stream with the transform stores messages
// that are published to subject. It returns an error if the stream stores other subjects
// under it, too, or if it transforms only a part of subject.
func transformed(transform *jetstream.SubjectTransformConfig, subject string) (string, error) {
	if transform == nil {
		return subject, nil
	}
	source := cmp.Or(transform.Source, ">")
	if !overlaps(source, subject) {
		return subject, nil
	}
	if !covers(source, subject) {
		return "", fmt.Errorf("it transforms only a part of the subject (%s)", source)
	}
	// Collect the tokens that the wildcards of the source match.
	tokens := strings.Split(subject, ".")
	var parts []string
	var rest string
	for i, token := range strings.Split(source, ".") {
		switch token {
		case "*":
			parts = append(parts, tokens[i])
		case ">":
			rest = strings.Join(tokens[i:], ".")
		}
	}
	used := map[int]bool{}
	stored := strings.Split(transform.Destination, ".")
	for i, token := range stored {
		match := wildcardToken.FindStringSubmatch(token)
		switch {
		case token == ">":
			stored[i], rest = rest, ""
		case match != nil:
			n, _ := strconv.Atoi(match[1] + match[2]) // wildcardToken matches only digits
			if n < 1 || n > len(parts) {
				return "", fmt.Errorf("its transform's destination %s refers to no wildcard of %s", transform.Destination, source)
			}
			stored[i], used[n-1] = parts[n-1], true
		case strings.ContainsAny(token, "{*$"):
			return "", fmt.Errorf("its transform's destination %s does not name a single subject", transform.Destination)
		}
	}
	lost := rest != "" && rest != ">"
	for n, part := range parts {
		lost = lost || part != "*" && !used[n]
	}
	if lost {
		return "", fmt.Errorf("its transform to %s stores several subjects under one", transform.Destination)
	}
	return strings.Join(stored, "."), nil
}

// storedBy returns a pattern for the subjects that a transform with the destination
// produces.
func storedBy(destination string) string {
	tokens := strings.Split(destination, ".")
	for i, token := range tokens {
		if strings.ContainsAny(token, "{$") {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}

// brings reports whether a mirror or source copies all messages of subject into its
// stream. It returns false for known if the config has no filter and no transform, so that
// the answer depends on the other stream.
func brings(from *jetstream.StreamSource, subject string) (all, known bool) {
	switch {
	case len(from.SubjectTransforms) > 0:
		return slices.ContainsFunc(from.SubjectTransforms, func(t jetstream.SubjectTransformConfig) bool {
			return covers(storedBy(cmp.Or(t.Destination, t.Source)), subject)
		}), true
	case from.FilterSubject != "":
		return covers(from.FilterSubject, subject), true
	}
	return false, false
}
