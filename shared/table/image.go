package table

import (
	"fmt"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/container"
	"containertriggers/shared/trigger"
)

// TriggerFromImage reads a trigger from a record of its table's stream.
func TriggerFromImage(image map[string]events.DynamoDBAttributeValue) (trigger.Trigger, error) {
	var row triggerRow
	err := decodeImage(image, &row)
	return row.trigger(), err
}

// ContainerFromImage reads a container from a record of its table's stream.
func ContainerFromImage(image map[string]events.DynamoDBAttributeValue) (container.Container, error) {
	var row containerRow
	err := decodeImage(image, &row)
	return row.container(), err
}

func decodeImage(image map[string]events.DynamoDBAttributeValue, row any) error {
	item, err := fromImage(image)
	if err != nil {
		return fmt.Errorf("reading a stream record: %w", err)
	}
	return decode(item, row)
}

// fromImage turns the values of a stream record, which Lambda gives types of
// its own, into those of the table.
func fromImage(image map[string]events.DynamoDBAttributeValue) (map[string]types.AttributeValue, error) {
	item := make(map[string]types.AttributeValue, len(image))
	for name, value := range image {
		attribute, err := fromImageValue(value)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		item[name] = attribute
	}
	return item, nil
}

func fromImageValue(value events.DynamoDBAttributeValue) (types.AttributeValue, error) {
	switch value.DataType() {
	case events.DataTypeString:
		return &types.AttributeValueMemberS{Value: value.String()}, nil
	case events.DataTypeNumber:
		return &types.AttributeValueMemberN{Value: value.Number()}, nil
	case events.DataTypeBinary:
		return &types.AttributeValueMemberB{Value: value.Binary()}, nil
	case events.DataTypeBoolean:
		return &types.AttributeValueMemberBOOL{Value: value.Boolean()}, nil
	case events.DataTypeNull:
		return &types.AttributeValueMemberNULL{Value: true}, nil
	case events.DataTypeMap:
		fields, err := fromImage(value.Map())
		return &types.AttributeValueMemberM{Value: fields}, err
	case events.DataTypeList:
		elements := make([]types.AttributeValue, len(value.List()))
		for i, element := range value.List() {
			attribute, err := fromImageValue(element)
			if err != nil {
				return nil, err
			}
			elements[i] = attribute
		}
		return &types.AttributeValueMemberL{Value: elements}, nil
	}
	return nil, fmt.Errorf("no row holds a value of data type %d", value.DataType())
}
