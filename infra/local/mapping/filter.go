package mapping

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// filter are the patterns of a mapping's filter criteria. A record passes if it matches one
// of them, or if there are none (Lambda Developer Guide, "Control which events Lambda sends
// to your function").
type filter []map[string]any

// newFilter parses filter criteria. It knows patterns of exact values, the only ones that the
// template has, and returns an error for any other.
func newFilter(criteria *lambdatypes.FilterCriteria) (filter, error) {
	if criteria == nil {
		return nil, nil
	}
	patterns := make(filter, len(criteria.Filters))
	for i, each := range criteria.Filters {
		text := aws.ToString(each.Pattern)
		if err := json.Unmarshal([]byte(text), &patterns[i]); err != nil {
			return nil, fmt.Errorf("reading the filter pattern %s: %w", text, err)
		}
		if err := known(patterns[i]); err != nil {
			return nil, fmt.Errorf("reading the filter pattern %s: %w", text, err)
		}
	}
	return patterns, nil
}

// known returns an error if a pattern has a part that matches does not know.
func known(pattern map[string]any) error {
	for key, part := range pattern {
		switch part := part.(type) {
		case map[string]any:
			if err := known(part); err != nil {
				return err
			}
		case []any:
			if slices.ContainsFunc(part, func(value any) bool { _, text := value.(string); return !text }) {
				return fmt.Errorf("%s: the local cloud matches strings only", key)
			}
		default:
			return fmt.Errorf("%s: a list or an object must be there", key)
		}
	}
	return nil
}

// passes reports whether a record, as it is in Lambda's event, passes.
func (f filter) passes(record any) bool {
	return len(f) == 0 || slices.ContainsFunc(f, func(pattern map[string]any) bool { return matches(pattern, record) })
}

func matches(pattern map[string]any, value any) bool {
	object, ok := value.(map[string]any)
	if !ok {
		return false
	}
	for key, part := range pattern {
		switch part := part.(type) {
		case map[string]any:
			if !matches(part, object[key]) {
				return false
			}
		case []any:
			text, ok := object[key].(string)
			if !ok || !slices.Contains(part, any(text)) {
				return false
			}
		}
	}
	return true
}
