package invoke

import (
	"maps"
	"net/http"

	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

// EventType returns the CloudEvents type of the events of a source.
func EventType(source trigger.Source) string {
	switch source { // a text that is there costs no allocation for each event
	case trigger.SourceCron:
		return eventTypes + string(trigger.SourceCron)
	case trigger.SourceSQS:
		return eventTypes + string(trigger.SourceSQS)
	case trigger.SourceNATS:
		return eventTypes + string(trigger.SourceNATS)
	default:
		return eventTypes + string(source)
	}
}

// eventTypes is the prefix of all types.
const eventTypes = "containertriggers."

// Sendable returns a request without the headers that belong to the connection, which a call
// never has.
func Sendable(request run.Request) run.Request {
	headers := maps.Clone(request.Headers)
	maps.DeleteFunc(headers, func(name, _ string) bool { return OfConnection(name) })
	request.Headers = headers
	return request
}

// NewEvent returns the event of a run with the headers and the body of a request.
func NewEvent(its run.Run, request run.Request, source trigger.Source) Event {
	header := http.Header{}
	for name, value := range request.Headers {
		header.Add(name, value)
	}
	return Event{ID: its.EventID, Type: EventType(source), Time: its.ScheduledAt, Subject: request.Subject, Header: header, Body: request.Bytes()}
}
