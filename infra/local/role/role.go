// Package role decides what a function's role lets it do, as IAM does. moto lets
// everybody do everything: what the template forgets to allow would be met on AWS
// only.
package role

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Role is what may be done, and what must not.
type Role struct {
	statements []statement
}

// Permission is what a call needs: an action on a resource, in its circumstances.
type Permission struct {
	// Action is like "dynamodb:GetItem".
	Action string
	// Resource is an ARN, "*" for an action that knows none.
	Resource string
	// Circumstances are the values of condition keys.
	Circumstances map[string][]string
}

func (p Permission) String() string { return p.Action + " on " + p.Resource }

// New reads policy documents. What it does not know of the language (IAM User
// Guide, "IAM JSON policy elements reference") is an error, so that nothing is
// allowed, or not denied, by mistake.
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

// Allows says whether some statement allows it and none denies it.
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
	// Condition is by operator, and then by key.
	Condition map[string]map[string]values
	// What a policy may have besides.
	NotAction, NotResource, Principal json.RawMessage

	action, resource *regexp.Regexp
}

// understand makes a statement ready to be matched.
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

// operators are those of conditions that are known: whether what a key has is as
// wanted. A key that is not there has nothing.
var operators = map[string]func(wanted, has values) bool{
	"StringEquals": func(wanted, has values) bool { return len(has) == 1 && slices.Contains(wanted, has[0]) },
	"ArnEquals":    func(wanted, has values) bool { return len(has) == 1 && wanted.pattern("").MatchString(has[0]) },
	"ForAllValues:StringEquals": func(wanted, has values) bool {
		return !slices.ContainsFunc(has, func(value string) bool { return !slices.Contains(wanted, value) })
	},
	"Null": func(wanted, has values) bool { return len(wanted) == 1 && (wanted[0] == "true") == (len(has) == 0) },
}

// values are a list, of which one alone may be written without it.
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

// wild are IAM's wildcards, quoted, and what they stand for.
var wild = strings.NewReplacer(`\*`, ".*", `\?`, ".")

// pattern matches what is one of the values.
func (v values) pattern(flags string) *regexp.Regexp {
	quoted := make([]string, len(v))
	for i, value := range v {
		quoted[i] = wild.Replace(regexp.QuoteMeta(value))
	}
	return regexp.MustCompile(flags + "^(" + strings.Join(quoted, "|") + ")$")
}
