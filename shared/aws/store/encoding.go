package store

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// encode returns a row as DynamoDB's attributes. The rows carry json tags, as their
// nested configs do for the API, so that a field has one name on the wire and in the
// table.
func encode(row any) (map[string]types.AttributeValue, error) {
	item, err := attributevalue.MarshalMapWithOptions(row, func(o *attributevalue.EncoderOptions) {
		o.TagKey, o.UseEncodingMarshalers = "json", true
	})
	if err != nil {
		return nil, fmt.Errorf("encoding a row: %w", err)
	}
	return item, nil
}

// encodeValues returns the values under their placeholders. It returns nil if there are
// none, because DynamoDB refuses an empty map.
func encodeValues(values map[string]any) (map[string]types.AttributeValue, error) {
	if len(values) == 0 {
		return nil, nil
	}
	encoded := make(map[string]types.AttributeValue, len(values))
	for name, value := range values {
		attribute, err := attributevalue.MarshalWithOptions(value, func(o *attributevalue.EncoderOptions) {
			o.TagKey, o.UseEncodingMarshalers = "json", true
		})
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", name, err)
		}
		encoded[":"+name] = attribute
	}
	return encoded, nil
}

func decode(item map[string]types.AttributeValue, row any) error {
	err := attributevalue.UnmarshalMapWithOptions(item, row, func(o *attributevalue.DecoderOptions) {
		o.TagKey, o.UseEncodingUnmarshalers = "json", true
	})
	if err != nil {
		return fmt.Errorf("decoding a row: %w", err)
	}
	return nil
}

func decodeRow[R any](item map[string]types.AttributeValue) (R, error) {
	var row R
	err := decode(item, &row)
	return row, err
}

// placeholders maps each "#name" of the expressions to the attribute of that name. An
// expression cannot hold the name itself if it is one of DynamoDB's reserved words.
func placeholders(expressions string) map[string]string {
	names := map[string]string{}
	for i := 0; i < len(expressions); i++ {
		if expressions[i] != '#' {
			continue
		}
		end := i + 1
		for end < len(expressions) && (expressions[end] == '_' || 'a' <= expressions[end] && expressions[end] <= 'z') {
			end++
		}
		names[expressions[i:end]] = expressions[i+1 : end]
		i = end - 1
	}
	return names
}
