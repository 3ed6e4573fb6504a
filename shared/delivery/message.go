package delivery

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"containertriggers/shared/invoke"
)

// eventType is the CloudEvents type of what an SQS trigger sends.
const eventType = "containertriggers.sqs"

// Attribute is a message attribute: a string or number, or bytes.
type Attribute struct {
	DataType string
	String   *string
	Binary   []byte
}

// NewMessage reads a message as it was received, with its system attributes. Its
// body is the event's, its attributes are headers (the binary ones in base64),
// its ID is the event's ID each time that it is received.
func NewMessage(id, receipt, body string, system map[string]string, attributes map[string]Attribute) Message {
	header := make(http.Header, len(attributes))
	for name, attribute := range attributes {
		switch {
		case strings.HasPrefix(attribute.DataType, "Binary"):
			header.Set(name, base64.StdEncoding.EncodeToString(attribute.Binary))
		case attribute.String != nil:
			header.Set(name, *attribute.String)
		}
	}
	return Message{
		ID: id, Receipt: receipt, Group: system[string(types.MessageSystemAttributeNameMessageGroupId)],
		Receives: max(number(system, types.MessageSystemAttributeNameApproximateReceiveCount), 1),
		Event: invoke.Event{
			ID: id, Type: eventType, Header: header, Body: []byte(body),
			Time: time.UnixMilli(int64(number(system, types.MessageSystemAttributeNameSentTimestamp))),
		},
	}
}

// number is a system attribute that is one; 0 where the queue does not say.
func number(system map[string]string, name types.MessageSystemAttributeName) int {
	n, err := strconv.Atoi(system[string(name)])
	if err != nil {
		return 0
	}
	return n
}
