// Package role decides like IAM whether a function's role allows a request. moto allows
// every request, so a permission that the template lacks would only show on AWS.
package role

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Role holds the statements that allow and those that deny.
type Role struct {
	statements []statement
}

// Permission is an action on a resource in some circumstances. A request needs one or more.
type Permission struct {
	// Action is an action such as "dynamodb:GetItem".
	Action string
	// Resource is an ARN, or "*" if the action has no resource.
	Resource string
	// Circumstances are the values of condition keys.
	Circumstances map[string][]string
}

func (p Permission) String() string { return p.Action + " on " + p.Resource }

// New parses policy documents (IAM User Guide, "IAM JSON policy elements reference"). It
// returns an error if a document has an element that it does not know, so that no request
// is allowed by mistake.
func New(documents ...json.RawMessage) (Role, error) {
	var role Role
	for _, document := range documents {
		var policy struct{ Statement []statement }
		if err := json.Unmarshal(document, &policy); err != nil {
			return Role{}, fmt.Errorf("reading a policy: %w", err)
		}
		for _, s := range policy.Statement {
			if err := s.understand(); err != nil {
				return Role{}, err
			}
			role.statements = append(role.statements, s)
		}
	}
	return role, nil
}

// Allows reports whether a statement allows the permission and none denies it.
func (r Role) Allows(p Permission) bool {
	allowed := false
	for _, s := range r.statements {
		if !s.matches(p) {
			continue
		}
		if s.Effect == "Deny" {
			return false
		}
		allowed = true
	}
	return allowed
}

type statement struct {
	Effect           string
	Action, Resource values
	// Condition holds values by operator and key.
	Condition map[string]map[string]values
	// New refuses these elements.
	NotAction, NotResource, Principal json.RawMessage

	action, resource *regexp.Regexp
}

// understand prepares a statement for matching.
func (s *statement) understand() error {
	if s.NotAction != nil || s.NotResource != nil || s.Principal != nil || s.Effect != "Allow" && s.Effect != "Deny" {
		return fmt.Errorf("a statement that is not understood: %+v", *s)
	}
	for operator := range s.Condition {
		if operators[operator] == nil {
			return fmt.Errorf("the condition operator %s is not known", operator)
		}
	}
	// Actions are the same in upper and lower case, resources are not.
	s.action, s.resource = s.Action.pattern("(?i)"), s.Resource.pattern("")
	return nil
}

func (s *statement) matches(p Permission) bool {
	if !s.action.MatchString(p.Action) || !s.resource.MatchString(p.Resource) {
		return false
	}
	for operator, keys := range s.Condition {
		for key, wanted := range keys {
			if !operators[operator](wanted, p.Circumstances[key]) {
				return false
			}
		}
	}
	return true
}

// operators holds the known operators of conditions. Each reports whether the values of a
// condition key match the wanted ones. An absent key has no values.
var operators = map[string]func(wanted, has values) bool{
	"StringEquals": func(wanted, has values) bool { return len(has) == 1 && slices.Contains(wanted, has[0]) },
	"ArnEquals":    func(wanted, has values) bool { return len(has) == 1 && wanted.pattern("").MatchString(has[0]) },
	"ForAllValues:StringEquals": func(wanted, has values) bool {
		return !slices.ContainsFunc(has, func(value string) bool { return !slices.Contains(wanted, value) })
	},
	"Null": func(wanted, has values) bool { return len(wanted) == 1 && (wanted[0] == "true") == (len(has) == 0) },
}

// values is a list of strings. JSON may have a single string instead of a list.
type values []string

// UnmarshalJSON reads a string or a list of strings.
func (v *values) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*v = values{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(v))
}

// wild replaces IAM's wildcards, quoted, by regular expressions.
var wild = strings.NewReplacer(`\*`, ".*", `\?`, ".")

// pattern returns a regular expression that matches each of the values.
func (v values) pattern(flags string) *regexp.Regexp {
	quoted := make([]string, len(v))
	for i, value := range v {
		quoted[i] = wild.Replace(regexp.QuoteMeta(value))
	}
	return regexp.MustCompile(flags + "^(" + strings.Join(quoted, "|") + ")$")
}
