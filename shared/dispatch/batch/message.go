package batch

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/domain/trigger"
)

// Attribute is a message attribute. String has the value of a string or a number, Binary
// that of a binary attribute.
type Attribute struct {
	DataType string
	String   *string
	Binary   []byte
}

// NewMessage returns a received message with its event. The event has the message's body
// and ID, so the event's ID is the same after each receive. The event's headers are the
// message's attributes; binary attributes are encoded in base64. The system attributes
// give the group, the number of receives and the time.
func NewMessage(id, receipt, body string, system map[string]string, attributes map[string]Attribute) Message {
	header := make(http.Header, len(attributes))
	for name, attribute := range attributes {
		value := aws.ToString(attribute.String)
		if strings.HasPrefix(attribute.DataType, "Binary") {
			value = base64.StdEncoding.EncodeToString(attribute.Binary)
		}
		header[name] = []string{value} // not Set, which would merge "Tag" and "tag"
	}
	return Message{
		ID: id, Receipt: receipt, Group: system[string(types.MessageSystemAttributeNameMessageGroupId)],
		Receives: max(number(system, types.MessageSystemAttributeNameApproximateReceiveCount), 1),
		Event: invoke.Event{
			ID: id, Type: invoke.EventType(trigger.SourceSQS), Header: header, Body: []byte(body),
			Time: time.UnixMilli(int64(number(system, types.MessageSystemAttributeNameSentTimestamp))),
		},
	}
}

// number returns the value of a numeric system attribute, or 0 if the message has none.
func number(system map[string]string, name types.MessageSystemAttributeName) int {
	n, err := strconv.Atoi(system[string(name)])
	if err != nil {
		return 0
	}
	return n
}
