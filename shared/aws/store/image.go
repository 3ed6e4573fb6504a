package store

import (
	"fmt"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/namespace"
	"containertriggers/shared/domain/trigger"
)

// TriggerFromImage returns the trigger of an image in a stream record.
func TriggerFromImage(image map[string]events.DynamoDBAttributeValue) (trigger.Trigger, error) {
	var row triggerRow
	err := decodeImage(image, &row)
	return row.trigger(), err
}

// ContainerFromImage returns the container of an image in a stream record.
func ContainerFromImage(image map[string]events.DynamoDBAttributeValue) (container.Container, error) {
	var row containerRow
	err := decodeImage(image, &row)
	return row.container(), err
}

// NamespaceFromImage returns the namespace of an image in a stream record.
func NamespaceFromImage(image map[string]events.DynamoDBAttributeValue) (namespace.Namespace, error) {
	var row namespaceRow
	err := decodeImage(image, &row)
	return row.namespace(), err
}

func decodeImage(image map[string]events.DynamoDBAttributeValue, row any) error {
	item, err := fromImage(image)
	if err != nil {
		return fmt.Errorf("reading a stream record: %w", err)
	}
	return decode(item, row)
}

// fromImage converts the values of a stream record from Lambda's types to those of the
// DynamoDB client.
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
