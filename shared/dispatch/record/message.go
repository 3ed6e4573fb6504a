package record

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/dispatch/invoke"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

const (
	// maxID is the longest event ID that is part of a run's key as it is, in bytes.
	maxID = 512
	// maxHeaderBytes is the size of the headers that a run keeps.
	maxHeaderBytes = 8 << 10
	// maxYear is the last year that RFC 3339 has.
	maxYear = 9999
)

// RunOf returns the run of a message's event. The same event has the same run.
func RunOf(t trigger.Trigger, event invoke.Event) run.Run {
	at := event.Time.UTC()
	if at.Year() > maxYear || at.Year() < 0 {
		at = time.Unix(0, 0).UTC() // the server that sent it has no clock
	}
	id := event.ID
	if len(id) > maxID || !utf8.ValidString(id) {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:])
	}
	return run.Run{
		Key:         run.Key{TriggerID: t.ID, Event: at.Format(time.RFC3339) + "/" + id},
		ContainerID: t.ContainerID, Region: t.Region, Owner: t.Owner,
		Origin: run.Message, EventID: run.Text([]byte(event.ID)), ScheduledAt: at,
	}
}

// requestOf returns the request of a message's event, with at most that many bytes of its
// body. Values of one header are joined (RFC 9110, section 5.3).
func requestOf(t trigger.Trigger, event invoke.Event, most int) run.Request {
	request := t.Request()
	request.Subject, request.Headers = run.Text([]byte(event.Subject)), map[string]string{}
	size := 0
	for name, values := range event.Header {
		value := strings.Join(values, ", ")
		size += len(name) + len(value)
		request.Headers[run.Text([]byte(name))] = run.Text([]byte(value))
	}
	request = request.WithBody(event.Body, most)
	if size > maxHeaderBytes {
		request.Headers, request.Truncated = map[string]string{}, true
	}
	return request
}

// sizeOf returns the bytes that a report holds while it waits.
func sizeOf(report store.Report) int {
	size := len(report.Request.Body) + len(report.Request.BodyBase64)
	for name, value := range report.Request.Headers {
		size += len(name) + len(value)
	}
	for _, attempt := range report.Attempts {
		size += len(attempt.Answer.Body) + len(attempt.Error)
	}
	return size
}
