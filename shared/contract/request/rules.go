package request

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"containertriggers/shared/contract/apierr"
)

// The limits of the common fields, in characters. The contract sets the limits of names
// and descriptions. The limits of tags are ours, and keep a row far below DynamoDB's
// 400 KB.
const (
	MaxName        = 128
	MaxDescription = 1024
	MaxTags        = 100
	MaxTag         = 256
)

// Required adds a fault if a required field is missing or empty.
func Required(faults *apierr.Arguments, argument string, value *string) {
	if value == nil || *value == "" {
		faults.Require(argument)
	}
}

// Name returns the name. It adds a fault unless the name has 1 to [MaxName] characters
// and none of them is a control character.
func Name(faults *apierr.Arguments, argument, name string) string {
	if n := utf8.RuneCountInString(name); n < 1 || n > MaxName {
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must have 1 to %d characters", MaxName))
	} else if strings.ContainsFunc(name, unicode.IsControl) {
		faults.Add(argument, apierr.Constraint, "must not contain control characters")
	}
	return name
}

// Description returns the description. It adds a fault if it is longer than
// [MaxDescription].
func Description(faults *apierr.Arguments, argument, description string) string {
	if utf8.RuneCountInString(description) > MaxDescription {
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must have at most %d characters", MaxDescription))
	}
	return description
}

// Tags returns the tags. It adds a fault if there are more than [MaxTags] or if one is
// longer than [MaxTag].
func Tags(faults *apierr.Arguments, argument string, tags []string) []string {
	if len(tags) > MaxTags {
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must have at most %d tags", MaxTags))
	}
	if slices.ContainsFunc(tags, func(tag string) bool { return utf8.RuneCountInString(tag) > MaxTag }) {
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must have tags of at most %d characters each", MaxTag))
	}
	return tags
}

// Text returns a key, an address or a similar text. It adds a fault unless the text has
// 1 to limit bytes without white space and control characters.
func Text(faults *apierr.Arguments, argument, text string, limit int) string {
	switch {
	case text == "":
		faults.Add(argument, apierr.Constraint, "must not be empty")
	case len(text) > limit:
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must have at most %d bytes", limit))
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		faults.Add(argument, apierr.Format, "must not contain white space or control characters")
	}
	return text
}

// maxURL is in bytes. Many servers refuse longer URLs.
const maxURL = 2048

// URL returns the address. It adds a fault unless the address is an absolute URL with one
// of the schemes. User information is a fault because it would be a secret in a field
// that clients can read.
func URL(faults *apierr.Arguments, argument, address string, schemes ...string) string {
	Text(faults, argument, address, maxURL)
	parsed, err := url.Parse(address)
	switch {
	case badPort(parsed, err):
		faults.Add(argument, apierr.Format, "must have a port from 1 to 65535, or none")
	case err != nil || parsed.Hostname() == "" || !slices.Contains(schemes, parsed.Scheme):
		faults.Add(argument, apierr.Format, "must be a URL that begins with "+strings.Join(schemes, ":// or ")+"://")
	case parsed.User != nil:
		faults.Add(argument, apierr.Constraint, "must not contain a user name or a password")
	case parsed.Fragment != "":
		faults.Add(argument, apierr.Constraint, "must not contain a fragment (#…)")
	}
	return address
}

// badPort reports whether a URL's port is not a TCP port. An empty port is bad too,
// because clients disagree about its meaning.
func badPort(parsed *url.URL, err error) bool {
	if err != nil {
		return strings.Contains(err.Error(), "invalid port")
	}
	if parsed.Port() == "" {
		return strings.HasSuffix(parsed.Host, ":")
	}
	port, err := strconv.ParseUint(parsed.Port(), 10, 16)
	return err != nil || port == 0
}

// UUID returns the ID in lower case. It adds a fault if the ID is not a UUID in the form
// of 36 characters.
func UUID(faults *apierr.Arguments, argument, id string) string {
	canonical, ok := CanonicalUUID(id)
	if !ok {
		faults.Add(argument, apierr.Format, "must be a UUID, such as 8f5d9521-e950-41e0-b980-b85131050aff")
	}
	return canonical
}

// CanonicalUUID returns a UUID in lower case, or false if it does not have the form of 36
// characters. [uuid.Parse] alone would accept three more forms.
func CanonicalUUID(id string) (canonical string, ok bool) {
	parsed, err := uuid.Parse(id)
	if err != nil || len(id) != 36 {
		return "", false
	}
	return parsed.String(), true
}

// RegionPattern is the form of the name of an API region, as a regular expression.
const RegionPattern = "[a-z]{2}-[a-z]{3,7}"

var region = regexp.MustCompile("^" + RegionPattern + "$")

// Region reports whether name has the form of an API region. The names of AWS regions
// contain digits and do not have it. The stock clients fail on them.
func Region(name string) bool { return region.MatchString(name) }
