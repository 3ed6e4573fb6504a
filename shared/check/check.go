// Package check holds the rules for request fields that triggers and containers
// have in common. Each function notes a fault under the argument's name where
// the value breaks the rule, and gives back the value to store.
package check

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"containertriggers/shared/fault"
)

// The limits of the common fields, in characters. Those of names and
// descriptions are the contract's; those of tags are ours, and keep a row far
// below DynamoDB's 400 KB.
const (
	MaxName        = 128
	MaxDescription = 1024
	MaxTags        = 100
	MaxTag         = 256
)

// Required notes a fault where a field of a create is missing or empty.
func Required(faults *fault.Arguments, argument string, value *string) {
	if value == nil || *value == "" {
		faults.Add(argument, fault.Required, "is required")
	}
}

// Name wants 1 to [MaxName] characters and no control character.
func Name(faults *fault.Arguments, argument, name string) string {
	if n := utf8.RuneCountInString(name); n < 1 || n > MaxName {
		faults.Add(argument, fault.Constraint, fmt.Sprintf("must have 1 to %d characters", MaxName))
	} else if strings.ContainsFunc(name, unicode.IsControl) {
		faults.Add(argument, fault.Constraint, "must not hold control characters")
	}
	return name
}

// Description wants at most [MaxDescription] characters.
func Description(faults *fault.Arguments, argument, description string) string {
	if utf8.RuneCountInString(description) > MaxDescription {
		faults.Add(argument, fault.Constraint, fmt.Sprintf("must have at most %d characters", MaxDescription))
	}
	return description
}

// Tags wants at most [MaxTags] tags of at most [MaxTag] characters.
func Tags(faults *fault.Arguments, argument string, tags []string) []string {
	if len(tags) > MaxTags {
		faults.Add(argument, fault.Constraint, fmt.Sprintf("must have at most %d tags", MaxTags))
	}
	if slices.ContainsFunc(tags, func(tag string) bool { return utf8.RuneCountInString(tag) > MaxTag }) {
		faults.Add(argument, fault.Constraint, fmt.Sprintf("each tag must have at most %d characters", MaxTag))
	}
	return tags
}

// Text wants 1 to limit bytes without white space or control characters: what
// keys and addresses are made of.
func Text(faults *fault.Arguments, argument, text string, limit int) string {
	switch {
	case text == "":
		faults.Add(argument, fault.Constraint, "must not be empty")
	case len(text) > limit:
		faults.Add(argument, fault.Constraint, fmt.Sprintf("must have at most %d bytes", limit))
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		faults.Add(argument, fault.Format, "must not hold white space or control characters")
	}
	return text
}

// maxURL is in bytes; longer ones are refused by many servers.
const maxURL = 2048

// URL wants an absolute URL of one of the schemes, without user information,
// which would be a secret in a field that is answered.
func URL(faults *fault.Arguments, argument, address string, schemes ...string) string {
	Text(faults, argument, address, maxURL)
	parsed, err := url.Parse(address)
	switch {
	case err != nil || parsed.Hostname() == "" || !slices.Contains(schemes, parsed.Scheme):
		faults.Add(argument, fault.Format, "must be a URL that begins with "+strings.Join(schemes, ":// or ")+"://")
	case parsed.User != nil:
		faults.Add(argument, fault.Constraint, "must not hold a user name or a password")
	case parsed.Fragment != "":
		faults.Add(argument, fault.Constraint, "must not hold a fragment")
	}
	return address
}

// UUID wants the 36 character form, in any case, and gives it back in lower case.
func UUID(faults *fault.Arguments, argument, id string) string {
	canonical, ok := CanonicalUUID(id)
	if !ok {
		faults.Add(argument, fault.Format, "must be a UUID")
	}
	return canonical
}

// CanonicalUUID gives a UUID of the 36 character form in lower case.
func CanonicalUUID(id string) (canonical string, ok bool) {
	if len(id) != 36 {
		return "", false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			ok = c == '-'
		default:
			ok = '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
		}
		if !ok {
			return "", false
		}
	}
	return strings.ToLower(id), true
}

// Region tells whether name has the form of an API region. AWS's names, which
// hold digits, do not: the stock clients fail on them.
func Region(name string) bool {
	country, city, found := strings.Cut(name, "-")
	lower := func(s string, least, most int) bool {
		return least <= len(s) && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r < 'a' || r > 'z' })
	}
	return found && lower(country, 2, 2) && lower(city, 3, 7)
}
