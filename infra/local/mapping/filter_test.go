package mapping

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

func criteria(patterns ...string) *lambdatypes.FilterCriteria {
	var list lambdatypes.FilterCriteria
	for _, pattern := range patterns {
		list.Filters = append(list.Filters, lambdatypes.Filter{Pattern: aws.String(pattern)})
	}
	return &list
}

func TestFilter_PassesRecordsThatMatchOneOfItsPatterns(t *testing.T) {
	t.Parallel()
	two, err := newFilter(criteria(`{"dynamodb":{"NewImage":{"status":{"S":["deleting","gone"]}}}}`, `{"eventName":["REMOVE"]}`))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		`{"eventName":"MODIFY","dynamodb":{"NewImage":{"status":{"S":"deleting"}}}}`: true,
		`{"eventName":"MODIFY","dynamodb":{"NewImage":{"status":{"S":"ready"}}}}`:    false,
		`{"eventName":"MODIFY","dynamodb":{"OldImage":{"status":{"S":"deleting"}}}}`: false,
		`{"eventName":"REMOVE","dynamodb":{"OldImage":{"status":{"S":"ready"}}}}`:    true,
	} {
		var record any
		if err := json.Unmarshal([]byte(text), &record); err != nil {
			t.Fatal(err)
		}
		if got := two.passes(record); got != want {
			t.Errorf("%s: passes %t", text, got)
		}
		if none, err := newFilter(nil); err != nil || !none.passes(record) {
			t.Errorf("%s does not pass without criteria, %v", text, err)
		}
	}
}

func TestFilter_RefusesPatternsThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{`{"a":[{"exists":true}]}`, `{"a":{"b":[1]}}`, `{"a":"b"}`, `[]`, `{`} {
		if _, err := newFilter(criteria(pattern)); err == nil {
			t.Errorf("%s was read", pattern)
		}
	}
}
